"""`Settings`: all settings, by environment variable or `.env`."""

from pathlib import Path
from typing import Final, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.settings.access import AccessSettings
from service.settings.conflicts import find_conflicts
from service.settings.identity import IdentitySettings
from service.settings.runs import RunSettings
from service.settings.server import ServerSettings
from service.settings.storage import StorageSettings
from service.settings.text import to_public_text
from service.settings.types import SettingsGroup
from service.settings.webhooks import WebhookSettings

ENV_FILE: Final = Path(".env")
SECTIONS: Final[tuple[type[SettingsGroup], ...]] = (
    ServerSettings,
    StorageSettings,
    IdentitySettings,
    AccessSettings,
    RunSettings,
    WebhookSettings,
)
"""The groups, in the order of the guide."""


class Settings(
    ServerSettings,
    StorageSettings,
    IdentitySettings,
    AccessSettings,
    RunSettings,
    WebhookSettings,
    BaseSettings,
):
    """All settings, by environment variable or `.env`."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True, validate_default=True)

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if conflicts := list(find_conflicts(self)):
            raise ValueError("\n".join(conflicts))
        return self

    @property
    def authenticated(self) -> bool:
        """Tell whether requests need a token; without authentication there is one local user."""
        return bool(self.auth_jwt_secret or self.auth_jwks_url)

    def in_force(self) -> dict[str, str]:
        """Return every setting as text; a secret only as whether it is set, a URL without its password."""
        names = [name for section in SECTIONS for name in section.model_fields]
        return {name.upper(): to_public_text(getattr(self, name)) for name in names}

    @property
    def modal_token(self) -> tuple[str, str] | None:
        """Return id and secret; None lets the Modal SDK find its own."""
        if not (self.modal_token_id and self.modal_token_secret):
            return None
        return self.modal_token_id, self.modal_token_secret.get_secret_value()

    @property
    def origin(self) -> str:
        """Return the public URL of the service, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def callback_origin(self) -> str:
        """Return the URL for callbacks: the public one for Modal, loopback for local runs.

        CALLBACK_URL replaces both, for example with the address of a proxy.
        """
        if self.callback_url:
            return self.callback_url.rstrip("/")
        if self.modal_enabled:
            return self.origin
        host = "127.0.0.1" if self.host in ("0.0.0.0", "localhost") else self.host  # noqa: S104 - it is only compared
        host = "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"
