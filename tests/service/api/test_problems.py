"""Every error has a title of its own, also where Python drops docstrings and asserts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import service.app  # noqa: F401 - defines them all
from service.problems import Problem

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
