"""Modal: the token, the deployed app and its release."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from callbacks.probe import ProbeAnswer, ProbeTarget
from service.dispatch.runners import RunnerRefused
from service.doctor.callbacks import check_callbacks
from service.settings import Settings
from service.startup.findings import Finding, Level, fail, ok, warn

if TYPE_CHECKING:
    from service.dispatch.runners.modal import ModalRunner

MODAL_SECONDS = 20.0


@asynccontextmanager
async def open_runner(settings: Settings) -> "AsyncIterator[ModalRunner]":
    """Connect to Modal with the token of the settings."""
    from service.dispatch.runners.modal import ModalRunner

    runner = ModalRunner(settings.modal_app_name, settings.modal_token, probe_seconds=MODAL_SECONDS)
    try:
        yield runner
    finally:
        await runner.close()


async def check_modal(runner: "ModalRunner") -> Finding:
    """Check that Modal takes the token, and has an app that takes this service's calls."""
    try:
        await runner.check_connection()
        await runner.check()
    except RunnerRefused as refused:
        return fail("modal", refused.message, is_temporary=refused.transient)
    if runner.notice is not None:
        return warn("modal", runner.notice.message)
    return ok("modal", f"the token is accepted, and the app is of release {version('framehook')}")


async def examine_modal(settings: Settings, runner: "ModalRunner", master_key: bytes) -> list[Finding]:
    """Check Modal, and let a container report to the service if there is one that can."""
    modal = await check_modal(runner)
    if modal.level is not Level.OK:
        return [
            modal,
            warn("callbacks", "not tried: a container of an app of this release has to post the probe"),
        ]
    return [modal, await check_callbacks(settings, master_key, partial(post_from_modal, runner))]


async def post_from_modal(runner: "ModalRunner", target: ProbeTarget) -> ProbeAnswer:
    """Post a probe from a container of the app."""
    try:
        answer = await runner.post_probe(msgspec.to_builtins(target))
    except RunnerRefused as refused:
        return ProbeAnswer(error=f"no container of the app could be asked: {refused.message.rstrip('.')}")
    return msgspec.convert(answer, ProbeAnswer)
