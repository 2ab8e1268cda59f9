"""Open a source and find its format, streams, clock and length."""
