"""The commands that run the service and those of its operator."""
