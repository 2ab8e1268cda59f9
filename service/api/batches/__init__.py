"""Routes of many exports at once: batches, and cancel and retry by filter."""
