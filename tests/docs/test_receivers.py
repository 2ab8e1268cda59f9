"""The receivers of their guide, run as they are written there in each language."""

import asyncio
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from callbacks import signing
from framehook.names import EventName, FaultName
from framehook.webhook_models import ListenerDelivery
from service.cli.webhooks.trigger import Sample
from tests.docs.markdown import GUIDES, read_blocks
from tests.support.live_server import free_port
from tests.support.npm.node_runtime import NODE
from tests.support.service_process import clean_environment, wait_until

SECRET = signing.encode_secret(bytes(range(200, 232)))
OTHER_KEY = bytes(range(32))
DJANGO_SETTINGS = """
SECRET_KEY = "x"
ROOT_URLCONF = "django_receiver"
ALLOWED_HOSTS = ["127.0.0.1"]
MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
"""
SERVE_ROUTE = """
import { createServer } from "node:http";
import { POST } from "./route.js";

createServer(async (incoming, outgoing) => {
  const pieces = [];
  for await (const piece of incoming) pieces.push(piece);
  const { method, headers } = incoming;
  const request = new Request("http://127.0.0.1/hook", { method, headers, body: Buffer.concat(pieces) });
  const response = await POST(request);
  outgoing.writeHead(response.status).end(await response.text());
}).listen(process.env.PORT, "127.0.0.1");
"""
"""What Next.js does for a route handler."""
SERVE_RACK = """
require "socket"
require "stringio"

def run(app)
  server = TCPServer.new("127.0.0.1", ENV.fetch("PORT").to_i)
  loop do
    client = server.accept
    client.gets
    env = {}
    until (line = client.gets("\\r\\n", chomp: true)).empty?
      name, value = line.split(": ", 2)
      env["HTTP_#{name.upcase.tr("-", "_")}"] = value
    end
    env["rack.input"] = StringIO.new(client.read(env["HTTP_CONTENT_LENGTH"].to_i))
    status, _headers, body = app.call(env)
    text = body.join
    client.write("HTTP/1.1 #{status} -\\r\\ncontent-length: #{text.bytesize}\\r\\nconnection: close\\r\\n\\r\\n#{text}")
    client.close
  end
end

$stdout.sync = true
load "receiver.ru"
"""
"""What a server of Rack does for an app."""
HOST = "127.0.0.1"
PYTHON = {
    "starlette_receiver.py": "-m uvicorn starlette_receiver:app --port PORT",
    "flask_receiver.py": "-m flask --app flask_receiver run --port PORT",
    "django_receiver.py": "-m django runserver 127.0.0.1:PORT --noreload --settings=django_settings",
}
JAVASCRIPT = {"express-receiver.mjs": "express-receiver.mjs", "route.js": "serve_route.mjs"}
OTHERS = {
    "receiver.php": ["php -S 127.0.0.1:PORT receiver.php"],
    "receiver.ru": ["ruby serve_rack.rb"],
    "receiver.go": ["go build -o receiver receiver.go", "./receiver"],
}


@dataclass(frozen=True)
class RunningReceiver:
    """A receiver, and the file that its process prints to."""

    http: httpx.AsyncClient
    log: Path

    async def post(self, message: ListenerDelivery, **changes: str) -> httpx.Response:
        headers = {**message.headers} | {name.replace("_", "-"): value for name, value in changes.items()}
        return await self.http.post("/hook", content=message.body, headers=headers)

    def read_printed(self) -> list[str]:
        """Return the ids of the events that it has printed, in order."""
        return re.findall(r"(\S+) export\.completed$", self.log.read_text(), re.MULTILINE)

    async def is_refusing(self) -> bool:
        """Tell whether it listens, and refuses what has no signature."""
        try:
            response = await self.http.post("/hook", content=b"{}")
        except httpx.TransportError:
            return False
        assert response.status_code == 401, self.log.read_text()
        return True


def prepare_folder(folder: Path, name: str) -> None:
    """Write the block with this name into the folder, with what the reader has beside it."""
    [block] = [block for block in read_blocks(GUIDES / "receivers.md") if block.file_name == name]
    (folder / name).write_text(block.text)
    (folder / "django_settings.py").write_text(DJANGO_SETTINGS)
    (folder / "serve_route.mjs").write_text(SERVE_ROUTE)
    (folder / "serve_rack.rb").write_text(SERVE_RACK)
    for parent in (folder, folder.parent):
        (parent / "handled").mkdir()


@asynccontextmanager
async def run_receiver(
    folder: Path, name: str, *commands: Sequence[str | Path]
) -> AsyncIterator[RunningReceiver]:
    """Run the commands one after the other; the last one serves the receiver."""
    prepare_folder(folder, name)
    port = str(free_port())
    environment = clean_environment(WEBHOOK_SECRET=SECRET, PORT=port, PYTHONUNBUFFERED="1")
    path = folder / "log"
    with path.open("wb") as log:
        for command in commands:
            words = [str(word).replace("PORT", port) for word in command]
            process = await asyncio.create_subprocess_exec(
                *words, cwd=folder, env=environment, stdout=log, stderr=log
            )
            if command is not commands[-1]:
                assert await process.wait() == 0, path.read_text()
    try:
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=30, trust_env=False) as http:
            receiver = RunningReceiver(http, path)

            async def has_started() -> bool:
                assert process.returncode is None, path.read_text()
                return await receiver.is_refusing()

            await wait_until(has_started)
            yield receiver
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def build_message(fault: FaultName | None = None) -> ListenerDelivery:
    """Return a sample event as the service would sign it."""
    sample = Sample(EventName.COMPLETED, "framing", SECRET, "http://127.0.0.1:8000")
    [message] = sample.build_messages(fault)
    return message


def sign_again(message: ListenerDelivery, key: bytes, seconds_ago: int = 0) -> Mapping[str, str]:
    """Return the headers of time and signature of the same message, with another key or time."""
    timestamp = int(time.time()) - seconds_ago
    headers = signing.signature_headers(key, message.headers["webhook-id"], timestamp, message.body.encode())
    return {name.replace("-", "_"): value for name, value in headers.items()}


async def check_receiver(receiver: RunningReceiver) -> None:
    """See that a receiver takes what is valid, once, and refuses everything else."""
    message = build_message()
    key = signing.decode_secret(SECRET)
    for seconds_ago in (600, -600):
        response = await receiver.post(message, **sign_again(message, key, seconds_ago))
        assert response.status_code == 401, seconds_ago
    for signature in ("v1", "v1,", sign_again(message, OTHER_KEY)["webhook_signature"]):
        response = await receiver.post(message, webhook_signature=signature)
        assert response.status_code == 401, signature
    for fault in (FaultName.TRUNCATE, FaultName.BAD_SIGNATURE):
        assert (await receiver.post(build_message(fault))).status_code == 401, fault
    assert receiver.read_printed() == []

    rotated = build_message(FaultName.OLD_SECRET)
    assert len(rotated.headers["webhook-signature"].split(" ")) == 2
    for valid in (message, rotated):
        response = await receiver.post(valid)
        assert (response.status_code, response.text) == (204, ""), receiver.log.read_text()
    signatures = [sign_again(message, each)["webhook_signature"] for each in (OTHER_KEY, key, OTHER_KEY)]
    fresh = {**sign_again(message, key), "webhook_signature": " ".join(signatures)}
    response = await receiver.post(message, **fresh)
    assert (response.status_code, response.text) == (200, "duplicate")
    assert receiver.read_printed() == [valid.headers["webhook-id"] for valid in (message, rotated)]


@pytest.mark.parametrize("name", PYTHON)
async def test_a_receiver_in_python_takes_what_is_signed_once(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "receiver"
    folder.mkdir()
    async with run_receiver(folder, name, [sys.executable, *PYTHON[name].split()]) as receiver:
        await check_receiver(receiver)


@pytest.mark.parametrize("name", JAVASCRIPT)
async def test_a_receiver_in_javascript_takes_what_is_signed_once(npm_folder: Path, name: str) -> None:
    async with run_receiver(npm_folder, name, [NODE, JAVASCRIPT[name]]) as receiver:
        await check_receiver(receiver)


@pytest.mark.parametrize("name", OTHERS)
async def test_a_receiver_in_another_language_takes_what_is_signed_once(tmp_path: Path, name: str) -> None:
    commands = [command.split() for command in OTHERS[name]]
    if shutil.which(commands[0][0]) is None:
        pytest.skip(f"{commands[0][0]} is not installed")
    folder = tmp_path / "receiver"
    folder.mkdir()
    async with run_receiver(folder, name, *commands) as receiver:
        await check_receiver(receiver)


def test_every_receiver_of_the_guide_is_run() -> None:
    named = {block.file_name for block in read_blocks(GUIDES / "receivers.md")} - {None}
    assert named == {*PYTHON, *JAVASCRIPT, *OTHERS}
