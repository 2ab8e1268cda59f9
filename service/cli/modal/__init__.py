"""The commands on the Modal app: `framehook modal …`."""
