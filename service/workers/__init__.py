"""Child processes that decode and encode: how they are started, and their log."""
