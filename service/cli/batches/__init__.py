"""The commands on batches of a running service: `framehook batch …`."""
