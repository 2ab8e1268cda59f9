"""Databases, storage, outbound HTTP, logs and the Modal emulator; independent of exports."""
