"""The work: knows video and callbacks, and nothing of the service."""
