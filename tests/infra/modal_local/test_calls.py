"""Calls of deployed functions with the unmodified SDK."""

from pathlib import Path

import modal
import pytest
from modal.client import Client
from modal.exception import FunctionTimeoutError, NotFoundError, RemoteError

from infra.modal_local import ModalLocal
from tests.infra.modal_local.toy_app import get_function, wait_for_marks, wait_until


async def test_a_spawned_call_is_pending_until_its_result_is_there(client: Client, tmp_path: Path) -> None:
    call = await get_function(client, "work").spawn.aio(str(tmp_path))
    await wait_for_marks(tmp_path, 1)
    again = modal.FunctionCall.from_id(call.object_id, client=client)
    with pytest.raises(TimeoutError):
        await again.get.aio(timeout=0)
    (tmp_path / "go").touch()
    assert isinstance(await again.get.aio(timeout=20), int)
    assert await again.get.aio(timeout=0) == await call.get.aio(timeout=0)


async def test_a_function_knows_its_call_its_image_and_that_it_is_remote(client: Client) -> None:
    call = await get_function(client, "surroundings").spawn.aio()
    result = await call.get.aio(timeout=20)
    expected = {"call": call.object_id, "remote": "1", "image": "an image's", "credentials": None}
    assert expected.items() <= result.items()


async def test_a_function_calls_another_and_shares_a_dict_with_it(client: Client) -> None:
    result = await get_function(client, "ask").remote.aio(41)
    assert result == {"question": 41, "answer": 42, "nothing": None}


async def test_an_unknown_dict_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError):
        await modal.Dict.from_id("di-0", client=client).get.aio("question")


async def test_a_container_is_reused(client: Client) -> None:
    surroundings = get_function(client, "surroundings")
    first, second = await surroundings.remote.aio(), await surroundings.remote.aio()
    assert first["pid"] == second["pid"]


@pytest.mark.parametrize("size", [100, 9_000, 3_000_000])
async def test_arguments_and_results_of_any_size_are_transferred(client: Client, size: int) -> None:
    value = "x" * size
    call = await get_function(client, "echo").spawn.aio(value)
    assert await call.get.aio(timeout=20) == value
    assert await get_function(client, "echo").remote.aio(value) == value


async def test_a_generator_streams_what_it_yields(client: Client) -> None:
    assert [item async for item in get_function(client, "count").remote_gen.aio(500)] == list(range(500))


async def test_an_exception_is_raised_in_the_caller(client: Client) -> None:
    call = await get_function(client, "fail").spawn.aio("no such video")
    with pytest.raises(ValueError, match="no such video"):
        await call.get.aio(timeout=20)


async def test_an_import_that_is_missing_in_the_image_fails(client: Client) -> None:
    with pytest.raises(ModuleNotFoundError, match="service"):
        await get_function(client, "import_service").remote.aio()


async def test_a_function_is_retried_as_configured(client: Client, tmp_path: Path) -> None:
    assert await get_function(client, "succeed_at_last").remote.aio(str(tmp_path)) == 2


async def test_a_run_beyond_its_timeout_is_ended(client: Client) -> None:
    call = await get_function(client, "overstay").spawn.aio()
    with pytest.raises(FunctionTimeoutError):
        await call.get.aio(timeout=20)


async def test_a_cancelled_run_is_interrupted(client: Client, tmp_path: Path) -> None:
    call = await get_function(client, "work").spawn.aio(str(tmp_path))
    await wait_for_marks(tmp_path, 1)
    await call.cancel.aio()
    with pytest.raises(RemoteError):
        await call.get.aio(timeout=20)
    (mark,) = await wait_for_marks(tmp_path, 1, "*.interrupted")
    assert mark.read_text() == "InputCancellation"


async def test_a_cancelled_run_is_not_run_again_when_its_container_dies(
    plane: ModalLocal, client: Client, tmp_path: Path
) -> None:
    call = await get_function(client, "stubborn").spawn.aio(str(tmp_path))
    await wait_for_marks(tmp_path, 1)
    await call.cancel.aio()
    await wait_for_marks(tmp_path, 1, "*.ignored")
    plane.fault_api.crash(call.object_id)
    with pytest.raises(RemoteError):
        await call.get.aio(timeout=20)


async def test_a_container_is_killed_with_its_call(client: Client, tmp_path: Path) -> None:
    call = await get_function(client, "work").spawn.aio(str(tmp_path))
    (mark,) = await wait_for_marks(tmp_path, 1)
    await call.cancel.aio(terminate_containers=True)
    with pytest.raises(RemoteError):
        await call.get.aio(timeout=0)
    pid = mark.name.removeprefix("run-")
    await wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert not mark.with_suffix(".interrupted").exists()


async def test_calls_beyond_max_containers_wait_their_turn(client: Client, tmp_path: Path) -> None:
    alone = get_function(client, "alone")
    calls = [await alone.spawn.aio(str(tmp_path)) for _ in range(3)]
    await wait_for_marks(tmp_path, 1)
    await calls[1].cancel.aio()
    with pytest.raises(RemoteError):
        await calls[1].get.aio(timeout=0)
    (tmp_path / "go").touch()
    first, last = await calls[0].get.aio(timeout=20), await calls[2].get.aio(timeout=20)
    assert first == last


async def test_all_functions_share_the_limit_of_containers(
    plane: ModalLocal, client: Client, tmp_path: Path
) -> None:
    work = get_function(client, "work")
    calls = [await work.spawn.aio(str(tmp_path)) for _ in range(6)]
    assert len(await wait_for_marks(tmp_path, 4)) == 4
    (tmp_path / "go").touch()
    for call in calls:
        await call.get.aio(timeout=20)
