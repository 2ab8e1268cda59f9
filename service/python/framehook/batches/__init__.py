"""Many exports at once: batches, and changes of all exports that a filter selects."""
