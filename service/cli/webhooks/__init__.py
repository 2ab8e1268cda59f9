"""The commands on webhooks of a running service: `framehook webhooks …`."""
