"""With an umask of 0, only the owner can read what an export writes, during and after it."""

from pathlib import Path

import pytest

from service import sample_video
from tests.support.service_process import CROP, ServiceProcess

pytestmark = pytest.mark.anyio


async def test_everything_that_a_service_and_its_runs_write_is_its_owners_alone(tmp_path: Path) -> None:
    sample_video.write_video(tmp_path / "match.mp4")
    content = (tmp_path / "match.mp4").read_bytes()
    async with ServiceProcess(tmp_path / "service") as service:
        key = await service.upload(content)
        config = {"input_key": key, "keyframes": [CROP], "trim": {"start": 0, "end": 3}, "quality": "draft"}
        job_id = await service.submit_export(config)
        await service.wait_until_encoding(job_id)
        assert open_to_others(service.folder / "var") == []
        assert (await service.wait_until_ended(job_id))["status"] == "complete"
        assert open_to_others(service.folder / "var") == []
        assert (service.folder / "var" / "framehook.db-wal").exists()


def open_to_others(folder: Path) -> list[str]:
    """List the paths that others than the owner can access."""
    return [
        str(path) for path in (folder, *folder.rglob("*")) if path.exists() and path.stat().st_mode & 0o77
    ]
