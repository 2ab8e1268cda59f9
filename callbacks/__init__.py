"""The wire contract: the only code that both sides of a callback share."""
