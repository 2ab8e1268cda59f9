"""What is sent is accepted by the libraries that consumers have, before, during and after a rotation."""

import time
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import update

from service.webhooks.models import ENDPOINTS
from tests.service.webhooks import node_runtime, verifying_receivers
from tests.service.webhooks.api_calls import all_settled, checked, created, path, rotated
from tests.service.webhooks.verifying_receivers import Receiver
from tests.support.app_harness import AppHarness

PYTHON = {"svix": verifying_receivers.by_svix, "standardwebhooks": verifying_receivers.by_standardwebhooks}


@pytest.fixture(params=[*PYTHON, "node"])
async def receiver(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Receiver:
    if request.param == "node":
        packages = node_runtime.packages(request.config.cache)
        return await stack.enter_async_context(verifying_receivers.in_node(packages))
    return stack.enter_context(verifying_receivers.in_python(PYTHON[request.param]))


async def overlap_over(app: AppHarness) -> None:
    """A day passes."""
    async with app.database.transaction() as session:
        await session.execute(update(ENDPOINTS).values(previous_until=time.time() - 1))


async def accepted(app: AppHarness, endpoint: dict[str, object]) -> bool:
    found = await checked(app.client, endpoint)
    assert found["attempts"][-1]["status"] in {204, 400}
    return bool(found["state"] == "delivered")


async def test_all_that_is_told_of_an_export_is_accepted(app: AppHarness, receiver: Receiver) -> None:
    endpoint = await created(app.client, receiver.url, events=["export.started", "export.completed"])
    await receiver.knows(endpoint["secret"])
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await app.complete_run(run)
    found = await all_settled(app.client, endpoint, 2)
    assert [(one["type"], one["state"]) for one in found] == [
        ("export.started", "delivered"),
        ("export.completed", "delivered"),
    ]


async def test_another_secret_is_refused(app: AppHarness, receiver: Receiver) -> None:
    endpoint = await created(app.client, receiver.url)
    other = await created(app.client, receiver.url)
    await receiver.knows(other["secret"])
    assert not await accepted(app, endpoint)


async def test_for_a_day_after_a_rotation_either_secret_verifies_and_then_the_new_one_alone(
    app: AppHarness, receiver: Receiver
) -> None:
    endpoint = await created(app.client, receiver.url)
    old, new = endpoint["secret"], (await rotated(app.client, endpoint))["secret"]
    found = {}
    for when in ("within", "after"):
        for name, secret in (("old", old), ("new", new)):
            await receiver.knows(secret)
            found[when, name] = await accepted(app, endpoint)
        await overlap_over(app)
    assert found == {
        ("within", "old"): True,
        ("within", "new"): True,
        ("after", "old"): False,
        ("after", "new"): True,
    }


async def test_two_rotations_void_the_first_secret_at_once(app: AppHarness) -> None:
    with verifying_receivers.in_python(verifying_receivers.by_standardwebhooks) as receiver:
        endpoint = await created(app.client, receiver.url)
        secrets = [endpoint["secret"], *[(await rotated(app.client, endpoint))["secret"] for _ in "12"]]
        found = []
        for secret in secrets:
            await receiver.knows(secret)
            found.append(await accepted(app, endpoint))
    assert found == [False, True, True]


async def test_the_public_key_verifies_before_during_and_after_a_rotation(app: AppHarness) -> None:
    with verifying_receivers.in_python(verifying_receivers.by_public_key) as receiver:
        endpoint = await created(app.client, receiver.url, ed25519=True)
        old = (await app.client.get(path(endpoint, "public-key"))).json()["public_key"]
        await receiver.knows(old)
        before = await accepted(app, endpoint)
        await rotated(app.client, endpoint)
        within = await accepted(app, endpoint)
        keys = (await app.client.get(path(endpoint, "public-key"))).json()
        assert keys["public_keys"] == [keys["public_key"], old]
        await receiver.knows(keys["public_key"])
        with_new = await accepted(app, endpoint)
        await overlap_over(app)
        after = await accepted(app, endpoint)
        await receiver.knows(old)
        with_old = await accepted(app, endpoint)
    assert (before, within, with_new, after, with_old) == (True, True, True, True, False)
    assert (await app.client.get(path(endpoint, "public-key"))).json()["public_keys"] == [keys["public_key"]]
