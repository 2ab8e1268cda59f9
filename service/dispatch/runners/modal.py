"""Run attempts on Modal: spawn a call, whose id is stored on the job; nothing is kept in memory while it runs.

Facts of the SDK (modal 1.6.4): `get(timeout=0)` raises the builtin TimeoutError while a call is pending; `spawn` takes
no idempotency key, and one that times out here may still have created the call; an unreachable server takes most of a
minute to fail on a cold connection, so every request has a timeout.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import modal
import modal.exception
from modal.config import config as sdk_config

from callbacks.probe import name_probe_function
from gpu.spec import AttemptSpec
from service.dispatch.runners.base import CallStatus, RunnerNotice, Running
from service.dispatch.runners.modal_results import (
    SIGNATURE_MISMATCH,
    UNREACHABLE_ERRORS,
    refusal_from,
    status_from_error,
    status_from_value,
    unknown_status,
    wait_without_count,
)

# A call returns its value in the format of its arguments. As pickles, exceptions of a run would be raised here with
# their own types: a TimeoutError would look like a pending call, a SystemExit would end the service.
os.environ.setdefault("MODAL_PAYLOAD_FORMAT", "cbor")

logger = logging.getLogger("framehook.runners")

FUNCTION = "process_video"
PROBE_SECONDS = 120.0
"""A container may have to start for it."""
RELEASE = version("framehook")
_MODAL_DOMAINS = (".modal.com", ".modal2.com")
CAPACITY = 16
"""How many spawns may be in flight; Modal itself queues up to a million calls."""


class ModalRunner:
    """Calls `process_video` of a deployed Modal app."""

    name = "modal"
    shares_filesystem = False
    instance = ""
    max_runs: int | None = None
    busy_reason = "Modal has no GPU free"

    def __init__(
        self,
        app_name: str,
        token: tuple[str, str] | None = None,
        *,
        gpu: str | None = None,
        max_retry_seconds: float = 30.0,
        spawn_seconds: float = 20.0,
        probe_seconds: float = 5.0,
    ) -> None:
        """`token` is its id and secret; by default those that the SDK finds.

        `max_retry_seconds` is how long a run retries a report that its return value repeats. `spawn_seconds` must be
        well below the lease of a job that is being started.
        """
        self._app_name = app_name
        self._token = token
        self.gpu = gpu
        self._max_retry_seconds = max_retry_seconds
        self._spawn_seconds = spawn_seconds
        self._probe_seconds = probe_seconds
        self._client: modal.Client | None = None
        self._connect_lock = asyncio.Lock()
        self._function: modal.Function[..., Any, Any] | None = None
        self.freed = asyncio.Event()
        self.notice: RunnerNotice | None = None

    def capacity(self) -> int:
        return CAPACITY

    def call_id_for(self, job_id: str, attempt: int) -> str:
        return f"modal-{job_id}-{attempt}"

    async def spawn(self, spec: AttemptSpec) -> str:
        arguments = self.build_arguments(spec)
        async with self._map_refusals(self._spawn_seconds):
            if self._function is not None:
                try:
                    return (await self._function.spawn.aio(**arguments)).object_id
                except modal.exception.NotFoundError:
                    self._function = None  # the app was deployed again: its functions have new ids
            function = await self._lookup_function()
            call = await function.spawn.aio(**arguments)
        self._function = function
        return call.object_id

    def build_arguments(self, spec: AttemptSpec) -> dict[str, Any]:
        """Return the arguments of the call: references only, since Modal stores arguments over 8 KiB separately."""
        target = spec.callback
        assert target is not None
        return {
            "job_id": spec.job_id,
            "user_id": "",
            "job_type": spec.type,
            "input_key": spec.config.input_key,
            "output_key": spec.config.output_key or "",
            "params": spec.config.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "callback": target.model_dump()
            | {
                "attempt": spec.attempt,
                "deadline_seconds": spec.deadline_seconds,
                "patience_seconds": self._max_retry_seconds,
                "request_id": spec.request_id,
                "traceparent": spec.traceparent,
            },
            "transfer": spec.transfer.model_dump(mode="json"),
        }

    async def probe(self, call_id: str) -> CallStatus:
        try:
            async with asyncio.timeout(self._probe_seconds) as limit:
                value = await (await self._call(call_id)).get.aio(timeout=0)
        except TimeoutError as error:
            return unknown_status(error) if limit.expired() else Running()
        except Exception as error:  # noqa: BLE001 - any error of the SDK is a state of the call
            return status_from_error(error)
        return status_from_value(value)

    def drain_ended(self) -> list[str]:
        """Return nothing: calls are not watched, and one that ends without a report falls silent."""
        return []

    async def cancel(self, call_id: str) -> None:
        async with self._map_refusals(self._probe_seconds):
            await (await self._call(call_id)).cancel.aio(terminate_containers=True)

    async def check(self) -> None:
        async with self._map_refusals(self._probe_seconds):
            await self._lookup_function()

    async def check_connection(self) -> None:
        """Raise RunnerRefused if Modal can't be reached or rejects the token; needs no deployed app."""
        async with self._map_refusals(self._probe_seconds):
            client = await self._connect()
            await client.hello.aio()  # type: ignore[no-untyped-call]

    async def post_probe(self, target: dict[str, Any]) -> dict[str, Any]:
        """Let a container of the app post a probe, and return the answer; raises RunnerRefused."""
        async with self._map_refusals(PROBE_SECONDS):
            function = self._probe_function(await self._connect())
            answer: dict[str, Any] = await function.remote.aio(target)
            return answer

    async def close(self) -> None:
        """Close the connection; calls outlive this process."""
        if self._client is not None and self._token is not None:
            await self._client.close.aio()

    async def _lookup_function(self) -> "modal.Function[..., Any, Any]":
        """Look up the deployed function; raises RunnerRefused if it lacks one of the arguments."""
        client = await self._connect()
        function: modal.Function[..., Any, Any] = modal.Function.from_name(
            self._app_name, FUNCTION, client=client
        )
        await function.hydrate.aio()
        # Not public in the SDK, whose version is pinned. Without it a mismatch would show only as a crash of the run.
        schema = await function._get_schema.aio()  # noqa: SLF001
        if not {argument.name for argument in schema.arguments} >= _ARGUMENTS:
            self._function = None
            raise wait_without_count(SIGNATURE_MISMATCH.code, SIGNATURE_MISMATCH.message, affects_all=True)
        await self._compare_release(
            client
        )  # each time: a function keeps its id when the app is deployed again
        return function

    async def _compare_release(self, client: modal.Client) -> None:
        """Note and log if the app was deployed from another release: it then lacks the function of this one."""
        try:
            await self._probe_function(client).hydrate.aio()
        except modal.exception.NotFoundError:
            message = (
                f"The app {self._app_name!r} was deployed from another release than this service, {RELEASE}. "
                "Run `framehook modal deploy`."
            )
            if self.notice is None:
                logger.warning("%s", message)
            self.notice = RunnerNotice("modal_release_differs", message)
        else:
            self.notice = None

    def _probe_function(self, client: modal.Client) -> "modal.Function[..., Any, Any]":
        return modal.Function.from_name(self._app_name, name_probe_function(RELEASE), client=client)

    async def _call(self, call_id: str) -> "modal.FunctionCall[Any]":
        return modal.FunctionCall.from_id(call_id, client=await self._connect())

    async def _connect(self) -> modal.Client:
        async with self._connect_lock:
            if self._client is None:
                self._client = await (
                    modal.Client.from_credentials.aio(*self._token)
                    if self._token
                    else modal.Client.from_env.aio()
                )
            return self._client

    @asynccontextmanager
    async def _map_refusals(self, seconds: float) -> AsyncIterator[None]:
        """Limit the time of requests to Modal, and raise RunnerRefused for every error."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except (modal.exception.Error, *UNREACHABLE_ERRORS) as error:
            raise refusal_from(error, self._app_name) from error


def is_modal_cloud() -> bool:
    """Tell whether the SDK is connected to Modal; another control plane has no GPUs to pay for.

    Its default is several URLs by commas, of which it takes the first that answers.
    """
    hosts = [urlsplit(url.strip()).hostname or "" for url in str(sdk_config["server_url"]).split(",")]
    return any(host.endswith(_MODAL_DOMAINS) for host in hosts)


def has_token() -> bool:
    """Return whether the SDK finds a token in the environment or in its own file."""
    return bool(sdk_config["token_id"] and sdk_config["token_secret"])


_ARGUMENTS = frozenset(
    ("job_id", "user_id", "job_type", "input_key", "output_key", "params", "callback", "transfer")
)
