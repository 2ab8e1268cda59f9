"""Run the control plane until SIGINT or SIGTERM: `python -m infra.modal_local`."""

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from infra.modal_local.faults import Faults
from infra.modal_local.server import LOOPBACK, ModalLocal
from infra.modal_local.state import Token


def parse_faults(text: str) -> Faults:
    """Parse the initial faults from JSON."""
    try:
        return msgspec.json.decode(text, type=Faults)
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_token(environment: Mapping[str, str]) -> Token | None:
    """Return the token of the environment; without one the control plane creates and keeps one."""
    name, secret = environment.get("MODAL_TOKEN_ID"), environment.get("MODAL_TOKEN_SECRET")
    return Token(id=name, secret=secret) if name and secret else None


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.modal_local", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of the gRPC service; 0 picks a free one")
    parser.add_argument(
        "--address",
        default=LOOPBACK,
        help="address to listen on; anyone with the token can run code here",
    )
    parser.add_argument("--host", default=LOOPBACK, help="host name by which clients reach it")
    parser.add_argument(
        "--state-dir",
        type=Path,
        help="folder for deployments and calls; without it a restart loses them",
    )
    parser.add_argument(
        "--max-containers",
        type=int,
        help="how many containers may run at the same time; as many as CPU cores if unset",
    )
    parser.add_argument(
        "--faults", type=parse_faults, default="{}", help="initial faults as JSON, as in PUT /faults"
    )
    parser.add_argument("--json", action="store_true", help="print the environment as JSON")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> None:
    """Run until SIGINT or SIGTERM."""
    stop_signal = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop_signal.set)
    plane = ModalLocal(
        port=options.port,
        address=options.address,
        host=options.host,
        token=read_token(os.environ),
        state_dir=options.state_dir,
        max_containers=options.max_containers,
        faults=options.faults,
    )
    async with plane:
        environment = plane.environment | {"MODAL_LOCAL_CONTROL_URL": plane.control_url}
        line = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        sys.stdout.write(f"{json.dumps(environment) if options.json else line}\n")
        sys.stdout.flush()
        await stop_signal.wait()


if __name__ == "__main__":
    asyncio.run(run(parse_arguments()))
