"""Encode one export as chunks in parallel, on this machine or on Modal, and join them."""
