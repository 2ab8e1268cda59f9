"""Every response says how browsers must treat it."""

from contextlib import AsyncExitStack

import pytest

from service.settings import Settings, load_settings
from tests.support.app_harness import open_app
from tests.support.fakes import FakeRunner

PATHS = [
    "/",
    "/framehook.js",
    "/docs",
    "/healthz",
    "/api/exports",
    "/api/exports/none",
    "/nowhere",
    "/sample.mp4",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("public_url", [None, "https://video.example.com"])
async def test_no_type_is_guessed_and_no_url_is_told(
    settings: Settings, stack: AsyncExitStack, path: str, public_url: str | None
) -> None:
    changed = load_settings(**settings.model_dump(exclude_unset=True) | {"public_url": public_url})
    app = await stack.enter_async_context(open_app(changed, FakeRunner()))
    headers = (await app.client.get(path, headers={"host": "localhost"})).headers
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    assert headers.get_list("referrer-policy") == ["no-referrer"]
    assert ("strict-transport-security" in headers) == (public_url is not None)
