"""The service in this process, with a fake runner and a new data folder for each test."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import jwt
import pytest

from service.settings import Settings, load_settings
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.stream_server import Road

JWT_SECRET = "a shared secret that is long enough for tests, even for those of SHA-512"
MASTER = "a master secret of the callbacks that is long enough"

Token = Callable[..., str]


@pytest.fixture(params=list(Road))
def road(request: pytest.FixtureRequest) -> Road:
    """Each way in which states get to connections, in turn."""
    road: Road = request.param
    return road


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """A single local user; the defaults, independent of the environment of the test run."""
    return load_settings(data_dir=data_dir, host="127.0.0.1", port=8000, callback_secret=MASTER, _env_file="")


@pytest.fixture
def users_settings(settings: Settings) -> Settings:
    """Several users, identified by tokens."""
    return load_settings(**{**settings.model_dump(exclude_unset=True), "auth_jwt_secret": JWT_SECRET})


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes at the end of the test everything that the test has entered."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def app(settings: Settings, stack: AsyncExitStack) -> AppHarness:
    """The service of a single local user."""
    return await stack.enter_async_context(open_app(settings, FakeRunner()))


@pytest.fixture
async def multi_user_app(users_settings: Settings, stack: AsyncExitStack) -> AppHarness:
    """The service of several users; requests carry no token unless they are given one."""
    return await stack.enter_async_context(open_app(users_settings, FakeRunner()))


def token(
    user: str | None = "ada", *, secret: str = JWT_SECRET, algorithm: str = "HS256", **claims: object
) -> str:
    """Return a bearer token of a user, valid for an hour unless `claims` say otherwise."""
    usual = {"sub": user, "exp": int(time.time()) + 3_600}
    present = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    if algorithm == "none":
        return f"{_part({'alg': 'none'})}.{_part(present)}."
    return jwt.encode(present, secret, algorithm)


def bearer(user: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(user)}"}


def _part(claims: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
