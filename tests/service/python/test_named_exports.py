"""Names and metadata through the clients: given, edited, listed and watched by."""

from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from framehook import Export
from framehook.options import Filters, matches
from tests.service.python.any_client import AnyClient, ClientFactory, create_export
from tests.support.live_server import LiveServer


async def list_ids(client: AnyClient, **filters: Any) -> list[str]:
    return [export.job_id async for export in client.items("list", **filters)]


async def test_an_export_is_named_edited_and_found(clients: ClientFactory, server: LiveServer) -> None:
    client = clients.open(server.url)
    first = await create_export(client, name="a", metadata={"n": 5, "k": "v"}, project_id=7)
    second = await create_export(client, metadata={"n": 5.5, "k": "v", "rush": True})
    assert (first.name, first.metadata, second.name) == ("a", {"n": 5, "k": "v"}, None)
    for filters, expected in (
        ({"metadata": {"k": "v"}}, [second, first]),
        ({"metadata": {"k": "v", "n": 5.0}}, [first]),
        ({"metadata": {"n": "5.5", "rush": True}}, [second]),
        ({"metadata": {"n": 6}}, []),
        ({"created_after": first.created_at}, [second, first]),
        ({"created_before": first.created_at}, []),
        ({"created_after": datetime.now(UTC) + timedelta(hours=1)}, []),
    ):
        assert await list_ids(client, **filters) == [export.job_id for export in expected], filters
    edited: Export = await client.call("edit", first, name="b", metadata={"k": "w"}, project_id=None)
    assert (edited.name, edited.metadata, edited.project_id) == ("b", {"k": "w"}, None)
    assert edited.sequence > first.sequence
    removed: Export = await client.call("edit", first, name=None, metadata=None)
    assert (removed.name, removed.metadata) == (None, {})
    assert await list_ids(client, metadata={"k": "w"}) == []


async def test_a_watch_of_metadata_shows_what_has_it(clients: ClientFactory, server: LiveServer) -> None:
    client = clients.open(server.url)
    await create_export(client, metadata={"k": "w"})
    job = await create_export(client, metadata={"k": "v"})
    async with aclosing(client.items("watch", metadata={"k": "v"})) as states:
        async for state in states:
            assert state.job_id == job.job_id
            if state.name == "last":
                break
            if state.name is None:
                await client.call("edit", job, name="last")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, True),
        ({"status": "complete", "type": ["framing", "overlay"]}, True),
        ({"status": ["error"]}, False),
        ({"project_id": 7}, True),
        ({"project_id": "8"}, False),
        ({"metadata": {"n": "5", "rush": True, "k": "ü"}}, True),
        ({"metadata": {"n": 5.0}}, True),
        ({"metadata": {"k": "Ü"}}, False),
        ({"metadata": {"x": "None"}}, False),
        ({"created_after": datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)}, True),
        ({"created_after": datetime(2026, 1, 2, 3, 4, 5, 679_000, tzinfo=UTC)}, False),
        ({"created_before": datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)}, True),
        ({"created_before": datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)}, False),
    ],
)
def test_a_client_that_polls_filters_as_the_service_does(filters: Filters, expected: bool) -> None:
    export = Export(
        job_id="job",
        type="framing",
        status="complete",
        phase="done",
        progress=100,
        message="",
        project_id=7,
        metadata={"n": 5, "rush": True, "k": "ü"},
        attempt=1,
        sequence=3,
        input_key="a.mp4",
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
    )
    assert matches(filters, export) is expected
