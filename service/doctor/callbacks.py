"""Can runs report? A probe is posted from where they are, and answered by the running service."""

import asyncio
import sys
import uuid
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from callbacks.probe import ProbeAnswer, ProbeTarget
from service.problems import Invalid, WrongClock
from service.settings import Settings
from service.startup.findings import Finding, fail, ok

PROCESS_SECONDS = 30.0

PostProbe = Callable[[ProbeTarget], Awaitable[ProbeAnswer]]


async def check_callbacks(settings: Settings, master_key: bytes, post: PostProbe) -> Finding:
    """Check that a run's report arrives at this service, with a signature that it accepts."""
    target = ProbeTarget.create(settings.callback_origin, master_key, f"doctor-{uuid.uuid4().hex}")
    return describe_answer(settings, await post(target))


def describe_answer(settings: Settings, answer: ProbeAnswer) -> Finding:
    """Say what the answer to a probe means."""
    setting = "CALLBACK_URL" if settings.callback_url else "PUBLIC_URL" if settings.modal_enabled else "PORT"
    place = f"{setting}: {settings.callback_origin}"
    if answer.error:
        return fail(
            "callbacks",
            f"{place} can't be reached from where runs are ({answer.error}); start the service, check the address",
        )
    if answer.status == httpx.codes.UNPROCESSABLE_ENTITY and answer.code == Invalid.code:
        return ok("callbacks", f"{settings.callback_origin} takes signed reports ({answer.seconds:.2f} s)")
    if answer.status == httpx.codes.UNAUTHORIZED and answer.code == WrongClock.code:
        return fail("callbacks", "the clocks of runs and service differ by minutes; synchronize them (NTP)")
    if answer.status == httpx.codes.UNAUTHORIZED and answer.code:
        return fail(
            "callbacks",
            f"CALLBACK_SECRET: the service at {settings.callback_origin} has another secret; use the same everywhere",
        )
    return fail(
        "callbacks",
        f"{place} is answered by another server (status {answer.status}), or another path of it; check the proxy",
    )


async def post_from_process(target: ProbeTarget) -> ProbeAnswer:
    """Post a probe from a process on this machine, as local runs are."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gpu.callback_probe"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PROCESS_SECONDS):
            output, _ = await process.communicate(msgspec.json.encode(target))
        return msgspec.json.decode(output, type=ProbeAnswer)
    except TimeoutError:
        return ProbeAnswer(error="TimeoutError")
    except msgspec.DecodeError:
        return ProbeAnswer(error=f"the process ended with status {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
