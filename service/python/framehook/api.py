"""The API client: upload, submit, watch, list, cancel, retry and download exports."""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from framehook.download import OnBytes, download_file
from framehook.errors import TokenExpired, Unreachable, describe_error, rejection_from
from framehook.eventsource import EventTooLarge, Parser, ReconnectBackoff
from framehook.http_client import (
    RETRYABLE_STATUSES,
    STREAM_TIMEOUT_SECONDS,
    HttpClient,
    TokenSource,
    retry_after_seconds,
)
from framehook.models import Export, Page, Timeline
from framehook.resume_state import ResumeState
from framehook.upload import Upload
from framehook.webhooks import Webhooks

PAGE_LIMIT = 200
MAX_OUTAGE_SECONDS = 600.0
_STREAM_EXPIRED = "stream.expired"
_STREAM_EVENTS = "stream."  # prefix of events about the stream itself


class Client:
    """Client of one service for one user.

    `token` may be a function that returns a token which is valid now. `resume_folder` keeps the state of interrupted
    uploads. `sleep` and `jitter` are used between tries.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource = None,
        *,
        resume_folder: Path | None = None,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._http = HttpClient(url, token, sleep=sleep, jitter=jitter)
        self._resume_state = ResumeState(resume_folder)
        self.webhooks = Webhooks(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    @property
    def url(self) -> str:
        return self._http.url

    def is_ready(self) -> bool:
        """Tell whether the service reports itself ready; sends one request."""
        return self._http.is_ready()

    def upload(self, path: Path, on_bytes: OnBytes) -> str:
        """Upload a file and return its key; resume an interrupted upload of a large one."""
        return Upload(self._http, path, on_bytes, self._resume_state).run()

    def can_resume(self, path: Path) -> bool:
        """Tell whether uploading this file would resume an earlier upload."""
        return self._resume_state.load_upload(self.url, path) is not None

    def find_stored_key(self, path: Path) -> str | None:
        """Return the key of this file if it is stored and unused; None if that is not remembered."""
        return self._resume_state.load_key(self.url, path)

    def save_key(self, path: Path, key: str) -> None:
        """Remember the key of this file, so that a later command need not upload it."""
        self._resume_state.save_key(self.url, path, key)

    def forget(self, path: Path) -> None:
        """Delete what is remembered of this file."""
        self._resume_state.forget(self.url, path)

    def submit(self, type_: str, config: Mapping[str, Any]) -> Export:
        """Create an export; an idempotency key makes it safe to retry when the response is lost."""
        body = {"type": type_, "config": dict(config)}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        return self._http.request_json("POST", "/api/exports", Export, body=body, headers=key)

    def get(self, job_id: str) -> Export:
        return self._http.request_json("GET", _path(job_id), Export)

    def timeline(self, job_id: str) -> Timeline:
        """Return how long each phase has taken so far."""
        headers = {"Accept": "application/json"}
        return self._http.request_json("GET", f"{_path(job_id)}/events", Timeline, headers=headers)

    def list_recent(self, limit: int, *, status: str | None = None, type_: str | None = None) -> Page:
        """Return at most `limit` exports, newest first, over as many pages as needed."""
        exports: list[Export] = []
        query = {name: value for name, value in (("status", status), ("type", type_)) if value}
        while True:
            query["limit"] = str(min(limit - len(exports), PAGE_LIMIT))
            page = self._http.request_json("GET", "/api/exports", Page, query=query)
            exports += page.exports
            if len(exports) >= limit or page.next_cursor is None:
                return Page(exports, page.next_cursor)
            query["cursor"] = page.next_cursor

    def cancel(self, job_id: str) -> Export:
        return self._http.request_json("DELETE", _path(job_id), Export)

    def retry(self, job_id: str) -> Export:
        """Start a new attempt; sent once, since the service would reject a second request."""
        return self._http.request_json("POST", f"{_path(job_id)}/retry", Export, tries=1)

    def watch(
        self, job_id: str, on_disconnect: Callable[[str], object] = lambda _reason: None
    ) -> Iterator[Export]:
        """Yield each newer state until the final one.

        Reconnects after lost connections and restarts of the service, and calls `on_disconnect` with the reason of
        each. A stream begins with the current state, so no final state is missed. Raises TokenExpired if the token
        expires and can't be renewed, Unreachable after ten minutes without a response.
        """
        backoff, last_sequence = ReconnectBackoff(self._http.jitter), 0
        while True:
            requested_seconds = 0.0
            try:
                with self._open_stream(job_id, last_sequence) as response:
                    for export in self._read_states(response, job_id, backoff):
                        if export.sequence > last_sequence or export.final:
                            last_sequence = export.sequence
                            yield export
                        if export.final:
                            return
                    reason, requested_seconds = _describe_end(response), retry_after_seconds(response)
            except httpx.RequestError as error:
                reason = describe_error(error)
            if backoff.waited_seconds > MAX_OUTAGE_SECONDS:
                raise Unreachable(f"the service has been unreachable for too long: {reason}")
            on_disconnect(reason)
            self._http.sleep(backoff.next_delay(requested_seconds))

    def download(self, export: Export, path: Path, on_bytes: OnBytes) -> None:
        """Write the exported file to `path` if it arrives complete and with its checksum."""
        checksum = export.output.checksum if export.output else None
        download_file(self._http, f"{_path(export.job_id)}/download", path, checksum, on_bytes)

    def _open_stream(self, job_id: str, last_sequence: int) -> AbstractContextManager[httpx.Response]:
        resume = {"Last-Event-ID": str(last_sequence)} if last_sequence else {}
        headers = {"Accept": "text/event-stream"} | resume
        return self._http.stream(
            f"{_path(job_id)}/events", headers=headers, read_seconds=STREAM_TIMEOUT_SECONDS
        )

    def _read_states(
        self, response: httpx.Response, job_id: str, backoff: ReconnectBackoff
    ) -> Iterator[Export]:
        """Yield the states in a response; none if the service is overloaded or shutting down."""
        if response.status_code in RETRYABLE_STATUSES:
            return
        if response.status_code == httpx.codes.NO_CONTENT:  # final, and nothing newer than `Last-Event-ID`
            yield self.get(job_id)
            return
        if not response.is_success:
            response.read()
            raise rejection_from(response)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            raise self._http.response_error()
        parser = Parser()
        try:
            for event in parser.parse(response.iter_bytes()):
                backoff.reset(parser.retry_milliseconds)
                if event.type == _STREAM_EXPIRED and not self._http.can_renew:
                    raise TokenExpired
                if not event.type.startswith(_STREAM_EVENTS):
                    yield self._http.decode(event.data, Export)
        except EventTooLarge as error:
            raise self._http.response_error() from error


def _path(job_id: str) -> str:
    return f"/api/exports/{quote(job_id, safe='')}"


def _describe_end(response: httpx.Response) -> str:
    if response.is_success:
        return "the service closed the stream"
    return f"the service answered {response.status_code} {response.reason_phrase}".strip()
