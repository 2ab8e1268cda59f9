"""A run that gets no response repeats its report while the service still moves the output."""

import asyncio
import hashlib
from pathlib import Path

from infra.storage import FolderStorage

CONTENT = b"video" * 40_000
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


async def test_concurrent_requests_to_publish_an_output_all_succeed(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    for number in range(60):
        written = storage.local_path("ada", f".attempts/{number}/output.mp4")
        written.parent.mkdir(parents=True)
        written.write_bytes(CONTENT)
        results = await asyncio.gather(
            *(
                storage.publish(
                    "ada",
                    f".attempts/{number}/output.mp4",
                    f"exports/{number}.mp4",
                    size=len(CONTENT),
                    checksum=CHECKSUM,
                )
                for _ in range(3)
            )
        )
        assert results == [True, True, True]
