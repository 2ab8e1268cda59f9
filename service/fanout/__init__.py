"""Deliver committed states to open streams, on this replica and on others."""
