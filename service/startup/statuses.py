"""Exit statuses of commands that start the service."""

TRY_AGAIN_STATUS = 75
"""EX_TEMPFAIL of sysexits.h: it may succeed a moment later."""
CONFIGURATION_STATUS = 78
"""EX_CONFIG: it fails again until the configuration changes."""
INTERRUPTED_STATUS = 130
"""What a shell reports of a command that Ctrl-C has ended."""
