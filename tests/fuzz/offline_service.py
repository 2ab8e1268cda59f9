"""The service as `framehook serve` runs it, except for webhooks: no name is looked up, and no host is reached."""

import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import httpx

from infra.egress import EgressClient, EgressPolicy
from infra.egress.results import Address
from service.app import create_app
from service.http_server.server import create_server
from service.settings import load_settings

SECRET = "a shared secret that is long enough for fuzzing"


async def look_up(_host: str) -> Sequence[Address]:
    """Return a public address for every name, without asking anything; nothing connects to it."""
    return (IPv4Address("8.8.8.8"),)


def respond(_request: httpx.Request) -> httpx.Response:
    """Answer a webhook in the place of its receiver."""
    return httpx.Response(204)


def run(port: int, folder: Path) -> None:
    """Serve until a signal."""
    settings = load_settings(
        data_dir=folder,
        host="127.0.0.1",
        port=port,
        auth_jwt_secret=SECRET,
        local_workers=1,
        max_queued_per_user=100_000,
        _env_file="",
    )
    egress = EgressClient(EgressPolicy(), lookup=look_up, transport=httpx.MockTransport(respond))
    create_server(create_app(settings, egress=egress), settings.host, settings.port).run()


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]))
