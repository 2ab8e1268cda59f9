"""The wire contract: the code that both sides of a callback share."""
