"""Check what the service needs before it starts, and say in one sentence what is missing."""
