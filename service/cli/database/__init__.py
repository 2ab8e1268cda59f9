"""The commands on the database: `framehook db …`."""
