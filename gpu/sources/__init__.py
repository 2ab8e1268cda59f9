"""Open a source: its kind of file, its streams, its clock and its length."""
