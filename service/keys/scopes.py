"""What an API key may do."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key may do: read or change one subject. None of them lets a key manage keys."""

    EXPORTS_READ = "exports:read"
    EXPORTS_WRITE = "exports:write"
    UPLOADS_READ = "uploads:read"
    UPLOADS_WRITE = "uploads:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    USAGE_READ = "usage:read"
    SYSTEM_READ = "system:read"
