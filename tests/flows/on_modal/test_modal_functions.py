"""The app's functions called without the service: on the bucket secret, as a generator, interrupted."""

import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import anyio
import modal
import pytest
from anyio import run_process
from modal.client import Client

from gpu import modal_image
from gpu.draw import fonts
from infra.modal_local import ModalLocal
from infra.storage.client import Bucket
from tests.flows.on_modal.callback_proxy import OUTPUT
from tests.flows.on_modal.conftest import deploy_app
from tests.flows.on_modal.modal_harness import FRAMING, ModalHarness
from tests.flows.on_modal.split_exports import SPLIT, assert_same_video, scratch
from tests.infra.modal_local.toy_app import open_client, run_modal_cli, wait_until
from tests.support.s3_server import S3Server, run_s3_server

pytestmark = pytest.mark.anyio

BUCKET = "b-of-the-functions"
ARGUMENTS: dict[str, Any] = {
    "job_id": "job-1",
    "user_id": "ada",
    "job_type": "framing",
    "input_key": "match.mp4",
    "output_key": "vertical.mp4",
    "params": FRAMING,
}
CallValue = dict[str, Any]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with run_s3_server() as server:
        yield server


@pytest.fixture(scope="module")
async def client(
    shared_plane: ModalLocal, s3_server: S3Server, source: bytes, long: Path
) -> AsyncIterator[Client]:
    """A client of the app deployed with a bucket secret, with sources in the bucket."""
    place = s3_server.client_config(BUCKET)
    names = ("R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME")
    values = (place.endpoint_url, place.access_key_id, place.secret_access_key, place.bucket)
    pairs = [f"{name}={value}" for name, value in zip(names, values, strict=True)]
    await run_modal_cli(shared_plane, "secret", "create", "bucket", *pairs)
    await deploy_app(
        shared_plane, "-m", "gpu.modal_app", MODAL_APP_NAME="direct", MODAL_BUCKET_SECRET="bucket"
    )
    bucket = Bucket(place)
    await bucket.create()
    await bucket.call("put_object", Key="ada/match.mp4", Body=source)
    await bucket.call("put_object", Key="ada/long.mp4", Body=long)
    await bucket.close()
    async with open_client(shared_plane) as opened:
        yield opened


def function(client: Client, name: str) -> "modal.Function[..., Any, Any]":
    return modal.Function.from_name("direct", name, client=client)


async def test_a_plain_call_reads_and_writes_the_user_s_part_of_the_bucket(client: Client) -> None:
    answer: CallValue = await function(client, "process_video").remote.aio(**ARGUMENTS)
    assert (answer["status"], answer["output_key"]) == ("success", "vertical.mp4")
    assert answer["output"]["size"] > 0


async def test_a_plain_call_is_split_and_leaves_nothing_but_its_output(
    client: Client, s3_server: S3Server, whole: Path, tmp_path: Path
) -> None:
    changes = {"input_key": "long.mp4", "output_key": "split.mp4", "params": {**SPLIT, "parallelism": 3}}
    answer: CallValue = await function(client, "process_video").remote.aio(**{**ARGUMENTS, **changes})
    assert answer["status"] == "success", answer
    bucket = Bucket(s3_server.client_config(BUCKET))
    attempt_files = await bucket.call("get_object", Key="ada/split.mp4")
    joined = tmp_path / "joined.mp4"
    await anyio.Path(joined).write_bytes(attempt_files["Body"].read())
    listed = await bucket.call("list_objects_v2", Prefix="ada/")
    await bucket.close()
    assert not [each["Key"] for each in listed["Contents"] if "chunk" in each["Key"]]
    assert_same_video(joined, whole)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"input_key": "missing.mp4"}, "source_missing"),
        ({"input_key": "../bob/match.mp4"}, "invalid_call"),
        ({"job_type": "nothing"}, "invalid_call"),
        ({"params": {}}, "invalid_call"),
    ],
)
async def test_what_can_t_be_made_is_returned_and_never_raised(
    client: Client, changes: CallValue, code: str
) -> None:
    answer: CallValue = await function(client, "process_video").remote.aio(**{**ARGUMENTS, **changes})
    assert (answer["status"], answer["code"]) == ("error", code)


async def test_the_generator_yields_progress_and_the_result_last(client: Client) -> None:
    values: list[CallValue] = [
        item async for item in function(client, "process_video_with_progress").remote_gen.aio(**ARGUMENTS)
    ]
    *ticks, result = values
    assert result["status"] == "success"
    progress = [tick["progress"] for tick in ticks]
    assert progress == sorted(progress)
    assert (len(progress) > 2, progress[-1] < 100) == (True, True)


async def test_a_run_that_is_interrupted_leaves_no_scratch(harness: ModalHarness, source: bytes) -> None:
    harness.proxy.hold(OUTPUT)
    job_id = await harness.submit(source)
    await harness.proxy.wait_arrived(OUTPUT)
    assert len(scratch(harness.plane)) == 1
    async with open_client(harness.plane) as client:
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(
            await harness.wait_call_id(job_id), client=client
        )
        await call.cancel.aio()  # as Modal does: an exception in the run, whose container goes on
        await wait_until(lambda: not scratch(harness.plane))
    assert (await harness.http.delete(f"/api/exports/{job_id}")).status_code == 202


async def test_the_image_holds_whatever_the_video_code_imports() -> None:
    code = "import sys, gpu.pipeline, gpu.transfer.user_bucket, callbacks.reporter; "
    code += "print(*{name.split('.')[0] for name in sys.modules})"
    done = await run_process([sys.executable, "-c", code])
    owners = packages_distributions()
    direct = {"av", "boto3", "httpx", "msgspec", "numpy", "PIL", "pydantic", "uharfbuzz"}
    loaded = {*done.stdout.decode().split()} & direct
    drawn = {fonts._LATIN[0], fonts._EAST_ASIAN[0], *(name for name, _, _ in fonts._SCRIPTS)}
    wanted = {owner.lower().replace("_", "-") for name in loaded | drawn for owner in owners[name]}
    assert wanted <= set(modal_image.PACKAGES)
