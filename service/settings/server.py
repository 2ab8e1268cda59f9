"""Settings of the server: where it listens, who reaches it, what it logs."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from service.settings.types import (
    DatabaseUrl,
    Default,
    Names,
    Origins,
    OwnUrl,
    Port,
    Secret,
    SettingsGroup,
    Url,
)


class ServerSettings(SettingsGroup):
    """Where the service listens, who reaches it, and what it logs."""

    heading: ClassVar = "Server"

    host: str = "127.0.0.1"
    """the address to listen on. Without authentication only loopback is allowed"""
    port: Port = 8000
    """the port to listen on"""
    public_url: Annotated[OwnUrl, Default("the address above")] = None
    """where clients and functions reach the service; required with Modal"""
    callback_url: Annotated[OwnUrl, Default("loopback; with Modal `PUBLIC_URL`")] = None
    """where runs post callbacks, if that differs: another container, a proxy"""
    data_dir: Annotated[Path, Default("`./var`")] = Path("var")
    """database, secret, files and scratch space; readable by its owner alone (mode 0700, files 0600)"""
    database_url: Annotated[DatabaseUrl, Default("SQLite in `DATA_DIR`")] = None
    """or `postgresql://…`, after `framehook db upgrade`"""
    log_format: Literal["text", "json"] = "text"
    """`json` writes one object a line"""
    log_users: Literal["plain", "hashed", "none"] = "plain"
    """how the log names users; `hashed`: the same user has the same hash on every replica"""
    metrics_port: Port | None = None
    """a port of `HOST` that has `/metrics` and nothing else; `PORT` then has none"""
    metrics_token: Secret | None = None
    """what scrapes send as `Authorization: Bearer …`, at least 32 bytes. With authentication and neither of the two,
    `/metrics` is not shown"""
    watchdog_seconds: Annotated[float, Field(ge=0, le=86_400), Default("`0`: off")] = 0.0
    """how long the event loop may be blocked: then the process writes where it was and ends, so that what runs it
    starts it again. The image and the systemd unit set 60"""
    tracing_endpoint: Annotated[Url, Default("none: no traces")] = None
    """URL of an OpenTelemetry collector (OTLP over HTTP) that gets [traces](deploy.md#traces): `http://collector:4318`"""
    operators: Names = ()
    """user ids (`sub`), comma-separated, who may see `/api/system` and the usage of all users; without
    authentication the local user may"""
    allowed_origins: Origins = ()
    """origins of pages on other hosts, comma-separated, for CORS, WebSocket and the cookie; `*` allows all if users
    sign in, without the cookie ([more](api.md#call-it-from-a-page))"""
    legacy_frontend: bool = False
    """`true` shows jobs in the shapes of a hand-written backend, for
    [a frontend that was written for one](moving.md); webhooks keep theirs"""
    max_connections: Annotated[int, Field(ge=1)] = 4_096
    """open connections in all; never more than the files that the process may open but 2,048, or half of them if they
    are fewer than 4,096"""
    max_connections_per_address: Annotated[int | None, Field(ge=1), Default("half of `MAX_CONNECTIONS`")] = (
        None
    )
    """open connections from one address (IPv6: one /64)"""
    max_streams_per_user: Annotated[int, Field(ge=1)] = 100
    """open streams and WebSockets of one user, for each replica"""
    max_streams: Annotated[int, Field(ge=1)] = 5_000
    """open streams and WebSockets in all, for each replica"""
