"""API keys: their form, their rows, and those in use in memory."""
