"""A user of a large file over plain HTTP: uploads it whole or in parts, exports and downloads it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

CHUNK_BYTES = 256 * 1024
AT_ONCE = 4
FINAL = ("complete", "error", "cancelled")

Job = dict[str, Any]


@dataclass(frozen=True)
class TimedState:
    """A state of an export, and the seconds after its submission."""

    seconds: float
    job: Job


class User:
    """One user of a service."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(600, connect=10), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def upload(self, film: Path) -> str:
        """PUT a film in one piece; return its key."""
        place = self._request_upload(film)
        headers = place["headers"] | {"Content-Length": str(film.stat().st_size)}
        self._http.put(
            place["url"], content=_read(film, 0, film.stat().st_size), headers=headers
        ).raise_for_status()
        return str(place["key"])

    def upload_parts(self, film: Path) -> str:
        """PUT a film part by part, several at a time; return its key."""
        place = self._request_upload(film, parts=True)
        upload = f"/api/uploads/{place['upload']}"

        def put_part(part: dict[str, Any]) -> None:
            content = _read(film, (part["number"] - 1) * place["part_size"], part["size"])
            headers = {"Content-Length": str(part["size"])}
            self._http.put(part["url"], content=content, headers=headers).raise_for_status()

        with ThreadPoolExecutor(AT_ONCE) as threads:
            while place["parts"]:
                list(threads.map(put_part, place["parts"]))
                place = self._http.get(upload).raise_for_status().json()
        return str(self._http.post(f"{upload}/complete").raise_for_status().json()["key"])

    def export(self, kind: str, config: dict[str, Any]) -> list[TimedState]:
        """Run an export to its end; return its states."""
        begun = time.monotonic()
        job = self._http.post("/api/exports", json={"type": kind, "config": config}).raise_for_status().json()
        states = [TimedState(time.monotonic() - begun, job)]
        while states[-1].job["status"] not in FINAL:
            with self._http.stream("GET", f"/api/exports/{job['job_id']}/events") as events:
                states.extend(
                    TimedState(time.monotonic() - begun, json.loads(line.removeprefix("data: ")))
                    for line in events.iter_lines()
                    if line.startswith("data: ")
                )
        return states

    def download(self, job: Job) -> int:
        """Download an export's file; return its size."""
        return self.drain(f"/api/exports/{job['job_id']}/download")

    def drain(self, url: str) -> int:
        """Read a file to its end and keep nothing."""
        with self._http.stream("GET", url, follow_redirects=True) as answer:
            answer.raise_for_status()
            return sum(len(chunk) for chunk in answer.iter_raw())

    def _request_upload(self, film: Path, *, parts: bool = False) -> dict[str, Any]:
        body = {
            "filename": film.name,
            "size": film.stat().st_size,
            "content_type": "video/mp4",
            "parts": parts,
        }
        grant: dict[str, Any] = self._http.post("/api/uploads", json=body).raise_for_status().json()
        return grant


def _read(film: Path, start: int, length: int) -> Iterator[bytes]:
    with film.open("rb") as file:
        file.seek(start)
        while length and (chunk := file.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk
