"""Deliver committed job states to open streams, on all replicas."""
