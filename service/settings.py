"""Read the settings from the environment and `.env`; no other module does.

An invalid value stops the start with a sentence that names it.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from infra.database.postgresql import is_postgresql
from infra.egress import TOTAL_SECONDS
from service.env_file import InvalidEnvFile, find_misspellings, read_names
from service.settings_text import describe_error, to_public_text
from service.web_addresses import ANY_ORIGIN, is_http_url, is_loopback, normalize_origin

MIN_SECRET_BYTES = 32
ENV_FILE = Path(".env")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadSettings(Exception):
    """The settings are invalid; the message names each one and what is wrong with it."""


class Settings(BaseSettings):
    """All settings, by environment variable or `.env`."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True, validate_default=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8000
    public_url: str | None = None
    callback_url: str | None = None
    data_dir: Path = Path("var")
    database_url: Annotated[str | None, Field(repr=False)] = None  # it may hold a password
    log_format: Literal["text", "json"] = "text"
    log_users: Literal["plain", "hashed", "none"] = "plain"
    metrics_token: SecretStr | None = None
    metrics_port: Annotated[int | None, Field(ge=1, le=65_535)] = None

    modal_enabled: bool = False
    modal_token_id: str | None = None
    modal_token_secret: SecretStr | None = None
    modal_app_name: str = "framehook"
    modal_gpu: str = "L4"
    gpu_usd_per_second: Annotated[float | None, Field(ge=0, le=1)] = None

    r2_endpoint_url: str | None = None
    r2_access_key_id: str | None = None
    r2_secret_access_key: SecretStr | None = None
    r2_bucket_name: str | None = None

    callback_secret: Annotated[tuple[SecretStr, ...], NoDecode] = ()

    auth_jwt_secret: SecretStr | None = None
    auth_jwks_url: str | None = None
    auth_audience: str | None = None
    auth_issuer: str | None = None
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    operators: Annotated[tuple[str, ...], NoDecode] = ()

    legacy_frontend: bool = False

    max_connections: Annotated[int, Field(ge=1)] = 4_096
    max_connections_per_address: Annotated[int | None, Field(ge=1)] = None
    max_active_per_user: Annotated[int, Field(ge=1)] = 4
    max_queued_per_user: Annotated[int, Field(ge=1)] = 100
    max_cost_per_user_day_usd: Annotated[float, Field(ge=0)] = 0.0
    max_cost_per_day_usd: Annotated[float, Field(ge=0)] = 0.0
    priority_seconds: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    priority_seconds_between_users: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    max_schedule_days: Annotated[float, Field(ge=0, le=365)] = 30.0
    local_workers: Annotated[int, Field(ge=1, le=256)] = os.cpu_count() or 1
    fork_server: bool = True
    max_upload_bytes: Annotated[int, Field(ge=1)] = 20 * 2**30
    max_bytes_per_user: Annotated[int, Field(ge=0)] = 0
    output_days: Annotated[float, Field(ge=0)] = 0.0
    upload_days: Annotated[float, Field(ge=0)] = 0.0
    max_output_bytes: Annotated[int, Field(ge=1)] = 100 * 2**30
    attempt_limit: Annotated[int, Field(ge=1, le=20)] = 3
    attempt_deadline_seconds: Annotated[float, Field(gt=0, le=86_400)] = 3_600.0
    queue_deadline_seconds: Annotated[float, Field(gt=0, le=7 * 86_400)] = 6 * 3_600.0
    timeline_days: Annotated[float, Field(gt=0)] = 30.0
    silence_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    lease_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    finalize_lease_seconds: Annotated[float, Field(gt=0, le=3_600)] = 15.0
    finalize_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    watch_seconds: Annotated[float, Field(gt=0, le=3_600)] = 5.0
    webhook_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    webhook_allow_http: bool = False
    webhook_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = TOTAL_SECONDS
    max_webhooks_per_user: Annotated[int, Field(ge=1)] = 50
    max_streams_per_user: Annotated[int, Field(ge=1)] = 100
    max_streams: Annotated[int, Field(ge=1)] = 5_000

    @field_validator(
        "callback_secret", "allowed_origins", "operators", "webhook_allowed_networks", mode="before"
    )
    @classmethod
    def _split_list(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("callback_secret", mode="after")
    @classmethod
    def _check_secret_lengths(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES for secret in value):
            raise ValueError(f"each secret must have at least {MIN_SECRET_BYTES} bytes")
        return value

    @field_validator("auth_jwt_secret", "metrics_token", mode="after")
    @classmethod
    def _check_secret_length(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
        return value

    @field_validator("public_url", "callback_url", "auth_jwks_url", "r2_endpoint_url", mode="after")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value and not is_http_url(value):
            raise ValueError("must be an http or https URL, such as https://example.org")
        return value

    @field_validator("allowed_origins", mode="after")
    @classmethod
    def _normalize_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(normalize_origin(origin) for origin in value)

    @field_validator("database_url", mode="after")
    @classmethod
    def _check_database_url(cls, value: str | None) -> str | None:
        if not value or is_postgresql(value):
            return value
        scheme, _, path = value.partition(":///")
        if scheme != "sqlite+aiosqlite" or path in ("", ":memory:"):
            raise ValueError("must be sqlite+aiosqlite:///path/to/a/file or postgresql://…")
        return value

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        r2 = (self.r2_endpoint_url, self.r2_access_key_id, self.r2_secret_access_key, self.r2_bucket_name)
        if any(r2) and not all(r2):
            raise ValueError(
                "R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and R2_BUCKET_NAME must be set together"
            )
        if self.auth_jwt_secret and self.auth_jwks_url:
            raise ValueError("set AUTH_JWT_SECRET or AUTH_JWKS_URL, not both")
        if not self.authenticated and not is_loopback(self.host):
            raise ValueError(
                f"HOST {self.host!r} is not a loopback address: without authentication the service listens "
                "on this machine only; set AUTH_JWT_SECRET or AUTH_JWKS_URL, or leave HOST at 127.0.0.1"
            )
        if not self.authenticated and ANY_ORIGIN in self.allowed_origins:
            raise ValueError(
                "ALLOWED_ORIGINS: * would let every web page use a service without authentication; "
                "list the origins of your own pages"
            )
        if bool(self.modal_token_id) != bool(self.modal_token_secret):
            raise ValueError("MODAL_TOKEN_ID and MODAL_TOKEN_SECRET must be set together")
        if self.modal_enabled and not self.callback_secret:
            raise ValueError("CALLBACK_SECRET is required with MODAL_ENABLED")
        if self.modal_enabled and not self.public_url:
            raise ValueError(
                "PUBLIC_URL is required with MODAL_ENABLED: functions post their callbacks there"
            )
        return self

    @property
    def authenticated(self) -> bool:
        """Tell whether requests need a token; without authentication there is one local user."""
        return bool(self.auth_jwt_secret or self.auth_jwks_url)

    def in_force(self) -> dict[str, str]:
        """Return every setting as text; a secret only as whether it is set, a URL without its password."""
        return {name.upper(): to_public_text(getattr(self, name)) for name in type(self).model_fields}

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


def load_settings(**overrides: object) -> Settings:
    """Read the settings; raises BadSettings, which quotes no value that may be secret."""
    read_env_file_names(overrides.get("_env_file", ENV_FILE))
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise BadSettings(
            "\n".join(describe_error(item["loc"], item["msg"]) for item in error.errors())
        ) from None


def read_env_file_names(file: object) -> dict[str, int]:
    """Return the names that `.env` sets and their lines.

    Raises BadSettings if it can't be read.
    """
    try:
        return read_names(Path(str(file))) if file else {}
    except InvalidEnvFile as error:
        raise BadSettings(str(error)) from None


def find_misspelt_settings() -> list[str]:
    """Return a sentence for each name in `.env` or the environment that is almost a setting's."""
    names = read_env_file_names(ENV_FILE)
    return list(find_misspellings(Settings.model_fields, ENV_FILE, names))
