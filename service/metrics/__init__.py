"""What operators see: metrics for Prometheus, and a line in the log for each change of an export."""
