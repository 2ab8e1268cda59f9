"""The `framehook` command line."""
