"""The receivers that the webhooks guide shows are run, against deliveries that were sent."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from callbacks.signing import decode_secret, sign
from service.webhooks.verifier import Mistake
from tests.service.webhooks.api_calls import checked, created, rotated
from tests.service.webhooks.node_runtime import NODE, required
from tests.support.app_harness import AppHarness
from tests.support.live_server import RecordedRequest, ScriptedResponse, serve_script

GUIDE = Path(__file__).parents[4] / "service" / "docs" / "webhooks.md"
Verify = Callable[[str, dict[str, str], bytes], None]
"""By a secret, of the headers and the body; raises unless they are genuine."""

CALL_IN_NODE = """
import { readFileSync } from "node:fs";
const given = JSON.parse(readFileSync(0));
verify(given.secret, given.headers, Buffer.from(given.body));
"""


def section() -> str:
    """The guide's text."""
    return GUIDE.read_text("utf-8")


def snippet(language: str) -> str:
    """The one block of it in that language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", section(), re.DOTALL | re.MULTILINE)
    return str(found)


def in_python(_folder: Path) -> Verify:
    found: dict[str, Verify] = {}
    exec(snippet("python"), found)  # noqa: S102 - it is our own
    return found["verify"]


def in_node(folder: Path) -> Verify:
    module = folder / "verify.mjs"
    module.write_text(snippet("js") + CALL_IN_NODE, "utf-8")

    def verify(secret: str, headers: dict[str, str], body: bytes) -> None:
        given = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
        subprocess.run([NODE, module], input=given, text=True, capture_output=True, check=True, timeout=60)

    return verify


def in_a_shell(folder: Path) -> Verify:
    if shutil.which("openssl") is None:
        required("there is no openssl here")

    def verify(secret: str, headers: dict[str, str], body: bytes) -> None:
        (folder / "body.json").write_bytes(body)
        variables = {"WEBHOOK_ID": "webhook-id", "WEBHOOK_TIMESTAMP": "webhook-timestamp"}
        signature = subprocess.run(
            ["/bin/sh", "-euc", snippet("sh")],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "SECRET": secret}
            | {name: headers[header] for name, header in variables.items()},
            text=True,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        if f"v1,{signature}" not in headers["webhook-signature"].split(" "):
            raise ValueError(signature)

    return verify


def headers_of(asked: RecordedRequest) -> dict[str, str]:
    return {name: value for name, value in asked.headers.items() if name.startswith("webhook-")}


@pytest.mark.parametrize("language", [in_python, in_node, in_a_shell])
async def test_what_the_guide_says_verifies_what_is_sent_and_nothing_else(
    app: AppHarness, tmp_path: Path, language: Callable[[Path], Verify]
) -> None:
    verify = language(tmp_path)
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await created(app.client, f"{receiver.url}/hook")
        renewed = await rotated(app.client, endpoint)
        await checked(app.client, endpoint)
        [asked] = receiver.requests
    headers, body = headers_of(asked), asked.body
    for secret in (endpoint["secret"], renewed["secret"]):
        verify(secret, headers, body)
        with pytest.raises((ValueError, subprocess.CalledProcessError)):
            verify(secret, headers, body + b" ")
    other = await created(app.client, f"{receiver.url}/other")
    for forged in (other["secret"], "whsec_" + "A" * 43 + "="):
        with pytest.raises((ValueError, subprocess.CalledProcessError)):
            verify(forged, headers, body)


@pytest.mark.parametrize("language", [in_python, in_node])
async def test_what_the_guide_says_refuses_what_is_old(
    app: AppHarness, tmp_path: Path, language: Callable[[Path], Verify]
) -> None:
    verify = language(tmp_path)
    endpoint = await created(app.client, "http://127.0.0.1:2/hook")
    signature = sign(decode_secret(endpoint["secret"]), "msg-1", 1_700_000_000, b"{}")
    old = {"webhook-id": "msg-1", "webhook-timestamp": "1700000000", "webhook-signature": signature}
    with pytest.raises((ValueError, subprocess.CalledProcessError)):
        verify(endpoint["secret"], old, b"{}")


def test_the_mistakes_that_the_guide_names_are_those_that_are_told() -> None:
    table = section().split("\n## Find out why a signature does not verify\n")[1].split("\n## ")[0]
    rows = [row.split("|")[2] for row in table.splitlines() if row.startswith("| what")]
    rows += [row.split("|")[2] for row in table.splitlines() if row.startswith("| the ")]
    named = re.findall(r"`(\w+)`", "".join(rows[1:]))
    assert len(named) > 10
    assert set(named) <= set(Mistake)
