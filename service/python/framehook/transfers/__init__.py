"""Move files: to the service, and from it."""
