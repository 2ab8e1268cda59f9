"""A run that hears no answer says again that it is done, while the service is still moving its output."""

import asyncio
import hashlib
from pathlib import Path

from infra.storage import FolderStorage

CONTENT = b"video" * 40_000
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


async def test_all_who_publish_the_same_output_at_once_find_it_published(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    for number in range(60):
        written = storage.local_path("ada", f".attempts/{number}/output.mp4")
        written.parent.mkdir(parents=True)
        written.write_bytes(CONTENT)
        told = await asyncio.gather(
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
        assert told == [True, True, True]
