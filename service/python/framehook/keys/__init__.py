"""API keys: created, listed and revoked by a user with a token."""
