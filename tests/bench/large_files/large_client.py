"""A user with a large file, as any HTTP client could be one: sends it whole or in parts, exports it, fetches it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

CHUNK_BYTES = 256 * 1024
AT_ONCE = 4
FINAL = ("complete", "error", "cancelled")

Job = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """A state of an export, and how many seconds after it was asked for it came."""

    seconds: float
    job: Job


class User:
    """One user of a service."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(600, connect=10), trust_env=False)

    def sent(self, film: Path) -> str:
        """The key of a film that was PUT in one piece."""
        place = self._granted(film)
        headers = place["headers"] | {"Content-Length": str(film.stat().st_size)}
        self._http.put(
            place["url"], content=_read(film, 0, film.stat().st_size), headers=headers
        ).raise_for_status()
        return str(place["key"])

    def sent_in_parts(self, film: Path) -> str:
        """The key of a film that was PUT part by part, several at a time."""
        place = self._granted(film, parts=True)
        upload = f"/api/uploads/{place['upload']}"

        def one(part: dict[str, Any]) -> None:
            content = _read(film, (part["number"] - 1) * place["part_size"], part["size"])
            headers = {"Content-Length": str(part["size"])}
            self._http.put(part["url"], content=content, headers=headers).raise_for_status()

        with ThreadPoolExecutor(AT_ONCE) as threads:
            while place["parts"]:
                list(threads.map(one, place["parts"]))
                place = self._http.get(upload).raise_for_status().json()
        return str(self._http.post(f"{upload}/complete").raise_for_status().json()["key"])

    def exported(self, kind: str, config: dict[str, Any]) -> list[Told]:
        """An export to its end, state by state."""
        begun = time.monotonic()
        job = self._http.post("/api/exports", json={"type": kind, "config": config}).raise_for_status().json()
        told = [Told(time.monotonic() - begun, job)]
        while told[-1].job["status"] not in FINAL:
            with self._http.stream("GET", f"/api/exports/{job['job_id']}/events") as events:
                told.extend(
                    Told(time.monotonic() - begun, json.loads(line.removeprefix("data: ")))
                    for line in events.iter_lines()
                    if line.startswith("data: ")
                )
        return told

    def downloaded(self, job: Job) -> int:
        """How many bytes an export's file has."""
        return self.drained(f"/api/exports/{job['job_id']}/download")

    def drained(self, url: str) -> int:
        """Read a file to its end, and keep nothing of it."""
        with self._http.stream("GET", url, follow_redirects=True) as answer:
            answer.raise_for_status()
            return sum(len(chunk) for chunk in answer.iter_raw())

    def _granted(self, film: Path, *, parts: bool = False) -> dict[str, Any]:
        asked = {
            "filename": film.name,
            "size": film.stat().st_size,
            "content_type": "video/mp4",
            "parts": parts,
        }
        found: dict[str, Any] = self._http.post("/api/uploads", json=asked).raise_for_status().json()
        return found


def _read(film: Path, start: int, length: int) -> Iterator[bytes]:
    with film.open("rb") as file:
        file.seek(start)
        while length and (chunk := file.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk
