"""What is handed on as it is: an overlay with nothing to draw, from here or from elsewhere."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu.pipeline import run
from gpu.spec import RemoteObject, Transfer
from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from tests.gpu.exports import attempt, finished
from tests.gpu.overlays import GREY, HEIGHT, WIDTH, grey_source, overlaid, region
from tests.gpu.videos import Video, clicks, make, steady
from tests.s3 import s3_server


def test_with_nothing_to_draw_the_object_is_copied(tmp_path: Path) -> None:
    source = grey_source(tmp_path)
    made = overlaid(source, highlight_regions=[region(enabled=False)])

    assert made.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("metadata", "asked"),
    [
        pytest.param((("location", "+48.1+016.4/"),), {}, id="it tells where it was filmed"),
        pytest.param((), {"include_audio": False}, id="its sound isn't wanted"),
        pytest.param((), {"fps": 15}, id="another rate is wanted"),
    ],
)
def test_a_source_that_is_not_what_was_asked_for_is_encoded(
    tmp_path: Path, metadata: Any, asked: dict[str, Any]
) -> None:
    grey = np.full((HEIGHT, WIDTH), GREY, np.uint8)
    video = Video(lambda _: grey, steady(0.4), tone=clicks(0.4), metadata=metadata)
    source = make(tmp_path / "source.mp4", video)
    made = overlaid(source, **asked)

    assert b"+48.1" not in made.read_bytes()
    assert made.read_bytes() != source.read_bytes()


def test_an_object_elsewhere_is_copied_too(tmp_path: Path) -> None:
    source, output = grey_source(tmp_path), tmp_path / "output.mp4"

    with s3_server() as front:
        bucket = Bucket(front.place())

        async def stored() -> str:
            await bucket.create()
            await bucket.call("put_object", Key="ann/source", Body=source.read_bytes())
            url = (await S3Storage(bucket).read_url("ann", "source", expires_seconds=600)).url
            await bucket.close()
            return url

        spec = attempt(source, output, kind="overlay")
        elsewhere = {"source": RemoteObject(url=asyncio.run(stored()))}
        transfer = Transfer(sources=elsewhere, output=spec.transfer.output)
        _, made = finished(run(spec.model_copy(update={"transfer": transfer}), tmp_path / "scratch"))

    assert output.read_bytes() == source.read_bytes()
    assert made.size == source.stat().st_size
    assert not (tmp_path / "scratch").exists()
