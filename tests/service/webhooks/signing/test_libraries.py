"""The usual libraries verify deliveries before, during and after a rotation."""

import time
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import update

from service.webhooks.models import ENDPOINTS
from tests.service.webhooks import verifying_receivers
from tests.service.webhooks.api_calls import (
    create_endpoint,
    path,
    rotate_secret,
    send_test_event,
    wait_all_ended,
)
from tests.service.webhooks.verifying_receivers import Receiver
from tests.support.app_harness import AppHarness

PYTHON = {
    "svix": verifying_receivers.verify_with_svix,
    "standardwebhooks": verifying_receivers.verify_with_standardwebhooks,
}


@pytest.fixture(params=[*PYTHON, "node"])
async def receiver(request: pytest.FixtureRequest, stack: AsyncExitStack) -> Receiver:
    if request.param == "node":
        packages = request.getfixturevalue("npm_packages")
        return await stack.enter_async_context(verifying_receivers.run_node_receiver(packages))
    return stack.enter_context(verifying_receivers.run_python_receiver(PYTHON[request.param]))


async def end_overlap(app: AppHarness) -> None:
    """End the overlap of the secrets, as after a day."""
    async with app.database.transaction() as session:
        await session.execute(update(ENDPOINTS).values(previous_until=time.time() - 1))


async def is_accepted(app: AppHarness, endpoint: dict[str, object]) -> bool:
    delivery = await send_test_event(app.client, endpoint)
    assert delivery["attempts"][-1]["status"] in {204, 400}
    return bool(delivery["state"] == "delivered")


async def test_all_events_of_an_export_are_accepted(app: AppHarness, receiver: Receiver) -> None:
    endpoint = await create_endpoint(app.client, receiver.url, events=["export.started", "export.completed"])
    await receiver.use_key(endpoint["secret"])
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await app.complete_run(run)
    results = await wait_all_ended(app.client, endpoint, 2)
    assert [(delivery["type"], delivery["state"]) for delivery in results] == [
        ("export.started", "delivered"),
        ("export.completed", "delivered"),
    ]


async def test_another_secret_is_refused(app: AppHarness, receiver: Receiver) -> None:
    endpoint = await create_endpoint(app.client, receiver.url)
    other = await create_endpoint(app.client, receiver.url)
    await receiver.use_key(other["secret"])
    assert not await is_accepted(app, endpoint)


async def test_for_a_day_after_a_rotation_either_secret_verifies_and_then_the_new_one_alone(
    app: AppHarness, receiver: Receiver
) -> None:
    endpoint = await create_endpoint(app.client, receiver.url)
    old, new = endpoint["secret"], (await rotate_secret(app.client, endpoint))["secret"]
    results = {}
    for when in ("within", "after"):
        for name, secret in (("old", old), ("new", new)):
            await receiver.use_key(secret)
            results[when, name] = await is_accepted(app, endpoint)
        await end_overlap(app)
    assert results == {
        ("within", "old"): True,
        ("within", "new"): True,
        ("after", "old"): False,
        ("after", "new"): True,
    }


async def test_a_second_rotation_invalidates_the_first_secret_at_once(app: AppHarness) -> None:
    with verifying_receivers.run_python_receiver(
        verifying_receivers.verify_with_standardwebhooks
    ) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url)
        secrets = [endpoint["secret"], *[(await rotate_secret(app.client, endpoint))["secret"] for _ in "12"]]
        results = []
        for secret in secrets:
            await receiver.use_key(secret)
            results.append(await is_accepted(app, endpoint))
    assert results == [False, True, True]


async def test_the_public_key_verifies_before_during_and_after_a_rotation(app: AppHarness) -> None:
    with verifying_receivers.run_python_receiver(verifying_receivers.verify_with_public_key) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url, ed25519=True)
        old = (await app.client.get(path(endpoint, "public-key"))).json()["public_key"]
        await receiver.use_key(old)
        before = await is_accepted(app, endpoint)
        await rotate_secret(app.client, endpoint)
        within = await is_accepted(app, endpoint)
        keys = (await app.client.get(path(endpoint, "public-key"))).json()
        assert keys["public_keys"] == [keys["public_key"], old]
        await receiver.use_key(keys["public_key"])
        with_new = await is_accepted(app, endpoint)
        await end_overlap(app)
        after = await is_accepted(app, endpoint)
        await receiver.use_key(old)
        with_old = await is_accepted(app, endpoint)
    assert (before, within, with_new, after, with_old) == (True, True, True, True, False)
    assert (await app.client.get(path(endpoint, "public-key"))).json()["public_keys"] == [keys["public_key"]]
