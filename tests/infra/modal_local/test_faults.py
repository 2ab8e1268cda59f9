"""Injected faults, as the unmodified SDK sees them."""

from pathlib import Path

import anyio
import httpx
import modal
import pytest
from modal.client import Client
from modal.exception import (
    AuthError,
    NotFoundError,
    OutputExpiredError,
    ResourceExhaustedError,
    ServiceError,
)

from infra.modal_local import Faults, ModalLocal
from tests.infra.modal_local.toy_app import get_function, wait_for_marks


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("RESOURCE_EXHAUSTED", ResourceExhaustedError),
        ("UNAUTHENTICATED", AuthError),
        ("UNAVAILABLE", ServiceError),
        ("NOT_FOUND", NotFoundError),
    ],
)
async def test_a_spawn_is_refused(
    plane: ModalLocal, client: Client, status: str, error: type[Exception]
) -> None:
    plane.fault_api.set(Faults(refuse_spawns=status))
    with pytest.raises(error):
        await get_function(client, "echo").spawn.aio(1)


async def test_a_poll_is_refused(plane: ModalLocal, client: Client) -> None:
    call = await get_function(client, "echo").spawn.aio(1)
    plane.fault_api.set(Faults(refuse_polls="UNAVAILABLE"))
    with pytest.raises(ServiceError):
        await call.get.aio(timeout=0)
    plane.fault_api.set(Faults())
    assert await call.get.aio(timeout=20) == 1


async def test_a_token_is_revoked(plane: ModalLocal, client: Client) -> None:
    call = await get_function(client, "echo").spawn.aio(1)
    plane.fault_api.set(Faults(token_revoked=True))
    with pytest.raises(AuthError):
        await call.get.aio(timeout=0)


async def test_an_abandoned_spawn_has_created_its_call(
    plane: ModalLocal, client: Client, tmp_path: Path
) -> None:
    work = get_function(client, "work")
    await work.hydrate.aio()
    plane.fault_api.set(Faults(spawn_answer_delay_seconds=5))
    with anyio.move_on_after(0.2) as scope:
        await work.spawn.aio(str(tmp_path))
    assert scope.cancelled_caught
    (mark,) = await wait_for_marks(tmp_path, 1)
    call = modal.FunctionCall.from_id(mark.read_text(), client=client)
    await call.cancel.aio(terminate_containers=True)


async def test_held_calls_are_pending_until_they_are_released(plane: ModalLocal, client: Client) -> None:
    echo = get_function(client, "echo")
    plane.fault_api.set(Faults(hold_calls=True))
    calls = [await echo.spawn.aio(number) for number in range(20)]
    with pytest.raises(TimeoutError):
        await calls[0].get.aio(timeout=0.2)
    plane.fault_api.set(Faults())
    assert [await call.get.aio(timeout=20) for call in calls] == list(range(20))


async def test_a_crashed_run_is_repeated(plane: ModalLocal, client: Client, tmp_path: Path) -> None:
    call = await get_function(client, "work").spawn.aio(str(tmp_path))
    (first,) = await wait_for_marks(tmp_path, 1)
    plane.fault_api.crash(call.object_id)
    both = await wait_for_marks(tmp_path, 2)
    (tmp_path / "go").touch()
    (second,) = set(both) - {first}
    assert await call.get.aio(timeout=20) == int(second.name.removeprefix("run-"))
    assert first.read_text() == second.read_text() == call.object_id
    assert not first.with_suffix(".interrupted").exists()


async def test_a_preempted_run_continues_in_parallel_to_its_repetition(
    plane: ModalLocal, client: Client, tmp_path: Path
) -> None:
    call = await get_function(client, "alone").spawn.aio(str(tmp_path))
    await wait_for_marks(tmp_path, 1)
    plane.fault_api.preempt(call.object_id)
    both = await wait_for_marks(tmp_path, 2)
    await call.cancel.aio(terminate_containers=True)
    (tmp_path / "go").touch()
    (done,) = await wait_for_marks(tmp_path, 1, "*.done")
    assert done.with_suffix("") in both
    with pytest.raises(modal.exception.RemoteError):
        await call.get.aio(timeout=0)


async def test_a_lost_output_never_appears(plane: ModalLocal, client: Client, tmp_path: Path) -> None:
    call = await get_function(client, "work").spawn.aio(str(tmp_path))
    await wait_for_marks(tmp_path, 1)
    plane.fault_api.lose(call.object_id)
    (tmp_path / "go").touch()
    await wait_for_marks(tmp_path, 1, "*.done")
    with pytest.raises(TimeoutError):
        await call.get.aio(timeout=0.5)
    await call.cancel.aio()


async def test_an_output_expires(plane: ModalLocal, client: Client) -> None:
    call = await get_function(client, "echo").spawn.aio(1)
    assert await call.get.aio(timeout=20) == 1
    plane.fault_api.expire(call.object_id)
    with pytest.raises(OutputExpiredError):
        await call.get.aio(timeout=0)


async def test_faults_are_set_over_http(plane: ModalLocal, client: Client, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {plane.environment['MODAL_TOKEN_SECRET']}"}
    async with httpx.AsyncClient(base_url=plane.control_url, headers=headers) as http:
        assert (await http.put("/faults", json={"refuse_spawns": "UNAVAILABLE"})).status_code == 200
        assert plane.fault_api.faults.refuse_spawns == "UNAVAILABLE"
        assert (await http.put("/faults", json={"refuse_spawns": "UNKNOWN_STATUS"})).status_code == 422
        assert (await http.put("/faults", json={"unknown": 1})).status_code == 422
        assert (await http.get("/faults")).json()["refuse_spawns"] == "UNAVAILABLE"
        await http.put("/faults", json={})
        call = await get_function(client, "work").spawn.aio(str(tmp_path))
        await wait_for_marks(tmp_path, 1)
        assert (await http.post(f"/calls/{call.object_id}/crash")).status_code == 204
        await wait_for_marks(tmp_path, 2)
        (tmp_path / "go").touch()
        await call.get.aio(timeout=20)
        assert (await http.post(f"/calls/{call.object_id}/preempt")).status_code == 404
        assert (await http.post(f"/calls/{call.object_id}/unknown")).status_code == 404


async def test_setting_faults_requires_the_token(plane: ModalLocal) -> None:
    async with httpx.AsyncClient(base_url=plane.control_url) as http:
        assert (await http.put("/faults", json={})).status_code == 401
        assert (await http.get("/blobs/..%2fstate.sqlite3")).status_code == 404
