"""The receivers in the webhooks guide, run against real deliveries."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from callbacks.signing import decode_secret, sign
from service.webhooks.verifier import Mistake
from tests.service.webhooks.api_calls import create_endpoint, rotate_secret, send_test_event
from tests.support.app_harness import AppHarness
from tests.support.live_server import RecordedRequest, ScriptedResponse, serve_script
from tests.support.npm.node_runtime import NODE, skip_or_fail

GUIDE = Path(__file__).parents[4] / "service" / "docs" / "webhooks.md"
Verify = Callable[[str, dict[str, str], bytes], None]
"""Verifies headers and body with a secret; raises if they are not genuine."""

CALL_IN_NODE = """
import { readFileSync } from "node:fs";
const given = JSON.parse(readFileSync(0));
verify(given.secret, given.headers, Buffer.from(given.body));
"""


def read_guide() -> str:
    """Return the text of the guide."""
    return GUIDE.read_text("utf-8")


def read_snippet(language: str) -> str:
    """Return the only code block in this language."""
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", read_guide(), re.DOTALL | re.MULTILINE)
    return str(block)


def load_python(_folder: Path) -> Verify:
    namespace: dict[str, Verify] = {}
    exec(read_snippet("python"), namespace)  # noqa: S102 - it is our own
    return namespace["verify"]


def load_node(folder: Path) -> Verify:
    module = folder / "verify.mjs"
    module.write_text(read_snippet("js") + CALL_IN_NODE, "utf-8")

    def verify(secret: str, headers: dict[str, str], body: bytes) -> None:
        payload = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
        subprocess.run([NODE, module], input=payload, text=True, capture_output=True, check=True, timeout=60)

    return verify


def load_shell(folder: Path) -> Verify:
    if shutil.which("openssl") is None:
        skip_or_fail("there is no openssl here")

    def verify(secret: str, headers: dict[str, str], body: bytes) -> None:
        (folder / "body.json").write_bytes(body)
        variables = {"WEBHOOK_ID": "webhook-id", "WEBHOOK_TIMESTAMP": "webhook-timestamp"}
        signature = subprocess.run(
            ["/bin/sh", "-euc", read_snippet("sh")],
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


def select_headers(request: RecordedRequest) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.startswith("webhook-")}


@pytest.mark.parametrize("language", [load_python, load_node, load_shell])
async def test_the_code_in_the_guide_verifies_deliveries_and_nothing_else(
    app: AppHarness, tmp_path: Path, language: Callable[[Path], Verify]
) -> None:
    verify = language(tmp_path)
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        rotated = await rotate_secret(app.client, endpoint)
        await send_test_event(app.client, endpoint)
        [request] = receiver.requests
    headers, body = select_headers(request), request.body
    for secret in (endpoint["secret"], rotated["secret"]):
        verify(secret, headers, body)
        with pytest.raises((ValueError, subprocess.CalledProcessError)):
            verify(secret, headers, body + b" ")
    other = await create_endpoint(app.client, f"{receiver.url}/other")
    for forged in (other["secret"], "whsec_" + "A" * 43 + "="):
        with pytest.raises((ValueError, subprocess.CalledProcessError)):
            verify(forged, headers, body)


@pytest.mark.parametrize("language", [load_python, load_node])
async def test_the_code_in_the_guide_rejects_old_messages(
    app: AppHarness, tmp_path: Path, language: Callable[[Path], Verify]
) -> None:
    verify = language(tmp_path)
    endpoint = await create_endpoint(app.client, "http://127.0.0.1:2/hook")
    signature = sign(decode_secret(endpoint["secret"]), "msg-1", 1_700_000_000, b"{}")
    old = {"webhook-id": "msg-1", "webhook-timestamp": "1700000000", "webhook-signature": signature}
    with pytest.raises((ValueError, subprocess.CalledProcessError)):
        verify(endpoint["secret"], old, b"{}")


def test_the_guide_names_only_existing_mistakes() -> None:
    table = read_guide().split("\n## Find out why a signature does not verify\n")[1].split("\n## ")[0]
    rows = [row.split("|")[2] for row in table.splitlines() if row.startswith("| what")]
    rows += [row.split("|")[2] for row in table.splitlines() if row.startswith("| the ")]
    named = re.findall(r"`(\w+)`", "".join(rows[1:]))
    assert len(named) > 10
    assert set(named) <= set(Mistake)
