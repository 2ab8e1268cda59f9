"""Post one signed report that names another export than its URL: the answer says who is at a callback URL.

The service refuses it after it has verified the signature, and before it changes anything.
"""

import base64
import re
import time
from datetime import UTC, datetime
from typing import Final

import httpx
import msgspec

from callbacks.envelope import Callback, EventType, Phase, Report, encode
from callbacks.signing import derive_attempt_key, signature_headers

PROBE_SECONDS: Final = 10.0
ATTEMPT: Final = 1
OTHER_JOB_ID: Final = "of-a-probe"


class ProbeTarget(msgspec.Struct, frozen=True):
    """Where to post, and with which key (base64), which is that of a single attempt."""

    url: str
    key: str
    job_id: str

    @classmethod
    def create(cls, origin: str, master: bytes, job_id: str) -> "ProbeTarget":
        """Return the target for a service at `origin`."""
        key = base64.b64encode(derive_attempt_key(master, job_id, ATTEMPT)).decode()
        return cls(f"{origin}/api/callbacks/{job_id}", key, job_id)


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What came back: a status and the code of a problem, or the kind of a network error."""

    status: int | None = None
    code: str = ""
    error: str = ""
    seconds: float = 0.0


def name_probe_function(release: str) -> str:
    """Return the name of the Modal function that posts probes: that of a release, so it says what was deployed."""
    return "probe_callback_" + re.sub(r"\W", "_", release)


def post_probe(target: ProbeTarget) -> ProbeAnswer:
    """Post the report and return the answer; a network error is an answer as well."""
    body = encode(_create_callback())
    key = base64.b64decode(target.key)
    headers = signature_headers(key, f"probe-{target.job_id}", int(time.time()), body)
    started = time.perf_counter()
    try:
        with httpx.Client(
            timeout=PROBE_SECONDS, trust_env=False, follow_redirects=False, verify=httpx.create_ssl_context()
        ) as client:
            response = client.post(
                target.url, content=body, headers={**headers, "content-type": "application/json"}
            )
    except (httpx.HTTPError, OSError) as error:
        return ProbeAnswer(error=type(error).__name__, seconds=time.perf_counter() - started)
    return ProbeAnswer(response.status_code, _read_code(response), seconds=time.perf_counter() - started)


def _create_callback() -> Callback:
    report = Report(
        job_id=OTHER_JOB_ID,
        attempt=ATTEMPT,
        step=1,
        call_id="probe",
        phase=Phase.STARTING,
        progress=0.0,
        message="A probe of framehook doctor",
    )
    return Callback(type=EventType.STARTED, timestamp=datetime.now(UTC), data=report)


def _read_code(response: httpx.Response) -> str:
    """Return the code of a problem of the service; empty for what another server answers."""
    try:
        return str(response.json().get("code", ""))
    except (ValueError, AttributeError):
        return ""
