"""Every error has a title of its own, also where Python drops docstrings and asserts."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

import service.app  # noqa: F401 - defines them all
from service.api.problem_handlers import EXCEPTION_HANDLERS
from service.http_server.server import create_server
from service.problems import Problem
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness
from tests.support.problems import assert_problem
from tests.support.raw_http import open_connection, request_head

REFUSED = """
import asyncio, json, sys, httpx
from service.app import create_app
from service.settings import load_settings

async def refused():
    app = create_app(load_settings(data_dir=sys.argv[1], _env_file=""))
    async with app.router.lifespan_context(app) as state:
        async def app_with_state(scope, receive, send):
            await app(scope | {"state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(app_with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            paths = ("/nothing", "/ws/exports")
            answers = [await client.get(path) for path in paths] + [await client.put("/api/exports")]
    print(json.dumps([answer.json() for answer in answers]))

asyncio.run(refused())
"""


def kinds(kind: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Yield every class of problems."""
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=repr))
def test_every_problem_has_a_title_of_its_own(kind: type[Problem]) -> None:
    assert vars(kind).get("title", "").endswith(".")


def test_errors_are_rendered_without_docstrings(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-OO", "-c", REFUSED, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert [answer["title"] for answer in json.loads(child.stdout)] == [
        "The resource does not exist.",
        "This path is that of a WebSocket; open it with one.",
        "This path does not support the method.",
    ]


async def fail(request: Request) -> None:
    """Fail as a mistake of ours would."""
    raise RuntimeError(request.method)


@pytest.mark.anyio
async def test_the_answer_to_a_mistake_of_ours_says_that_its_connection_closes() -> None:
    app = Starlette(routes=[Route("/", fail)], exception_handlers=EXCEPTION_HANDLERS)
    app.state.close_streams = list
    listening = socket.create_server(("127.0.0.1", 0))
    server = create_server(app, "127.0.0.1", listening.getsockname()[1])
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    async with open_connection(listening.getsockname()[1]) as connection:
        await connection.send(request_head("GET /", close=False))
        answer = await connection.read_all()
    server.should_exit = True
    await serving
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_a_cursor_that_no_database_stores_is_refused(app_on_any_database: AppHarness) -> None:
    answer = await app_on_any_database.client.get("/api/uploads?cursor=%00", headers=bearer("ada"))
    assert_problem(answer, 422)
