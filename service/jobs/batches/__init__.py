"""Batches: exports that were submitted together; their rows, their totals, and the moment at which all have ended."""
