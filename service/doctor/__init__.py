"""Checks of a configuration and of a running service, each with a sentence that says what to do."""
