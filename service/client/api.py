"""Exports, as the service offers them: send, submit, watch, list, cancel, retry, fetch."""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from service.client.download import OnBytes, download_file
from service.client.errors import Expired, Unreachable, describe_error, rejection_from
from service.client.eventsource import EventTooLarge, Parser, ReconnectBackoff
from service.client.http_client import (
    RETRYABLE_STATUSES,
    SILENCE_SECONDS,
    HttpClient,
    Token,
    retry_after_seconds,
)
from service.client.models import Export, Page, Timeline
from service.client.resume_state import ResumeState
from service.client.upload import Sending
from service.client.webhooks import Webhooks

PAGE_LIMIT = 200
EXPIRED = "stream.expired"
_OF_STREAMS = "stream."
PATIENCE_SECONDS = 600.0


class Client:
    """One service, used by one user; `sleep` and `jitter` are how it waits between tries.

    `token` may be a function that gives a token which is valid now. `resume_folder` is a folder to remember uploads in
    that were cut.
    """

    def __init__(
        self,
        url: str,
        token: Token = None,
        *,
        resume_folder: Path | None = None,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._calls = HttpClient(url, token, sleep=sleep, jitter=jitter)
        self._unfinished = ResumeState(resume_folder)
        self.webhooks = Webhooks(self._calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._calls.close()

    @property
    def url(self) -> str:
        return self._calls.url

    def is_ready(self) -> bool:
        """Whether the service says that it can do its work; asked once."""
        return self._calls.is_ready()

    def upload(self, path: Path, moved: OnBytes) -> str:
        """Send a file; the key that it is stored under. A large one that was cut goes on where it was."""
        return Sending(self._calls, path, moved, self._unfinished).to_storage()

    def can_resume(self, path: Path) -> bool:
        """Whether sending this file again would go on with what was sent before."""
        return self._unfinished.token(self.url, path) is not None

    def stored_key(self, path: Path) -> str | None:
        """What this file, as it is now, is stored under already; None unless that was kept."""
        return self._unfinished.key(self.url, path)

    def save_key(self, path: Path, key: str) -> None:
        """Remember what this file is stored under, for whoever wants to use it later."""
        self._unfinished.save_key(self.url, path, key)

    def forget(self, path: Path) -> None:
        """Remember nothing of this file any more."""
        self._unfinished.forget(self.url, path)

    def submit(self, type_: str, config: Mapping[str, Any]) -> Export:
        """Start an export; should the answer get lost, asking again does not start a second one."""
        body = {"type": type_, "config": dict(config)}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        return self._calls.request_json("POST", "/api/exports", Export, body=body, headers=key)

    def get(self, job_id: str) -> Export:
        return self._calls.request_json("GET", _path(job_id), Export)

    def timeline(self, job_id: str) -> Timeline:
        """What it has spent its time on so far."""
        headers = {"Accept": "application/json"}
        return self._calls.request_json("GET", f"{_path(job_id)}/events", Timeline, headers=headers)

    def list_recent(self, limit: int, *, status: str | None = None, type_: str | None = None) -> Page:
        """At most `limit` exports, newest first, over as many pages as that takes."""
        found: list[Export] = []
        query = {name: value for name, value in (("status", status), ("type", type_)) if value}
        while True:
            query["limit"] = str(min(limit - len(found), PAGE_LIMIT))
            page = self._calls.request_json("GET", "/api/exports", Page, query=query)
            found += page.exports
            if len(found) >= limit or page.next_cursor is None:
                return Page(found, page.next_cursor)
            query["cursor"] = page.next_cursor

    def cancel(self, job_id: str) -> Export:
        return self._calls.request_json("DELETE", _path(job_id), Export)

    def retry(self, job_id: str) -> Export:
        """A new attempt; asked for once, since a second call would be refused."""
        return self._calls.request_json("POST", f"{_path(job_id)}/retry", Export, tries=1)

    def watch(self, job_id: str, away: Callable[[str], object] = lambda _reason: None) -> Iterator[Export]:
        """Each newer state as it comes, the last of them final; Expired if the token ends that can't be renewed.

        Lost connections and restarts of the service are sat out, and `away` is told of each: whenever the stream
        is opened again it begins with the present state, so nothing that still matters is missed.
        """
        backoff, held = ReconnectBackoff(self._calls.jitter), 0
        while True:
            at_least = 0.0
            try:
                with self._events(job_id, held) as response:
                    for export in self._states(response, job_id, backoff):
                        if export.sequence > held or export.final:
                            held = export.sequence
                            yield export
                        if export.final:
                            return
                    reason, at_least = _ending(response), retry_after_seconds(response)
            except httpx.RequestError as error:
                reason = describe_error(error)
            if backoff.waited_seconds > PATIENCE_SECONDS:
                raise Unreachable(f"the service has been away for too long: {reason}")
            away(reason)
            self._calls.sleep(backoff.next_delay(at_least))

    def download(self, export: Export, path: Path, moved: OnBytes) -> None:
        """Write the exported file to `path`: whole and as the service described it, or not at all."""
        expected = export.output.checksum if export.output else None
        download_file(self._calls, f"{_path(export.job_id)}/download", path, expected, moved)

    def _events(self, job_id: str, held: int) -> Any:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(held)} if held else {})
        return self._calls.stream(f"{_path(job_id)}/events", headers=headers, read_seconds=SILENCE_SECONDS)

    def _states(self, response: httpx.Response, job_id: str, backoff: ReconnectBackoff) -> Iterator[Export]:
        """The states that an answer carries; none if the service is busy, or on its way out."""
        if response.status_code in RETRYABLE_STATUSES:
            return
        if response.status_code == httpx.codes.NO_CONTENT:  # final, and nothing newer than what is held
            yield self.get(job_id)
            return
        if not response.is_success:
            response.read()
            raise rejection_from(response)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            raise self._calls.unexpected_response()
        parser = Parser()
        try:
            for event in parser.events(response.iter_bytes()):
                backoff.reset(parser.retry_milliseconds)
                if event.type == EXPIRED and not self._calls.can_renew:
                    raise Expired
                if not event.type.startswith(_OF_STREAMS):
                    yield self._calls.read(event.data, Export)
        except EventTooLarge as error:
            raise self._calls.unexpected_response() from error


def _path(job_id: str) -> str:
    return f"/api/exports/{quote(job_id, safe='')}"


def _ending(response: httpx.Response) -> str:
    if response.is_success:
        return "it ended the stream"
    return f"it answered {response.status_code} {response.reason_phrase}".strip().lower()
