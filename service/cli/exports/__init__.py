"""The commands on exports of a running service."""
