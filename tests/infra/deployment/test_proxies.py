"""The proxies of the guide pass streams, sockets and large uploads on, and keep the metrics to themselves."""

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect

from service.settings import load_settings
from tests.docs.markdown import GUIDES, read_blocks
from tests.infra.deployment.deployment_files import SECRET
from tests.support.live_server import MASTER, DurableRunner, LiveServer, free_port, serve_app

DOCUMENTED_REPLICAS = ("127.0.0.1:8001", "127.0.0.1:8002")
SITE = "video.example.com"
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {configuration}
}}
"""
MEBIBYTE = 2**20
UPLOAD_BYTES = 3 * MEBIBYTE
"""More than nginx takes by default."""


def read_configuration(language: str, replica: str) -> str:
    """Return the configuration of the guide, with the test's service as the first replica; none is the second."""
    (block,) = [block for block in read_blocks(GUIDES / "proxies.md") if block.language == language]
    first, second = DOCUMENTED_REPLICAS
    assert block.text.count(first) == block.text.count(second) == 1
    return block.text.replace(first, replica).replace(second, f"127.0.0.1:{free_port()}")


def write_nginx(folder: Path, port: int, replica: str) -> list[str]:
    text = read_configuration("nginx", replica).replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = re.sub(r"\n *ssl_certificate.*", "", text)
    path = folder / "nginx.conf"
    path.write_text(NGINX.format(folder=folder, configuration=text))
    return ["-c", str(path), "-p", str(folder), "-e", str(folder / "start.log")]


def write_caddy(folder: Path, port: int, replica: str) -> list[str]:
    text = read_configuration("caddy", replica).replace(SITE, f"http://{SITE}:{port}")
    path = folder / "Caddyfile"
    path.write_text(f"{{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}}\n{text}")
    return ["run", "--adapter", "caddyfile", "--config", str(path)]


@asynccontextmanager
async def run_proxy(name: str, arguments: list[str], url: str, folder: Path) -> AsyncIterator[None]:
    """Run the proxy until the block ends."""
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        str(find_program(name)),
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(base_url=url, trust_env=False) as client:
            while not await is_up(client):
                assert process.returncode is None, (folder / "error.log").read_text()
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def is_up(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz", headers={"Host": SITE})).is_success
    except httpx.TransportError:
        await asyncio.sleep(0.05)
        return False


def find_program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


PROXIES: dict[str, Callable[[Path, int, str], list[str]]] = {"nginx": write_nginx, "caddy": write_caddy}


@pytest.fixture(params=PROXIES)
async def proxied(
    request: pytest.FixtureRequest, tmp_path: Path, data_dir: Path
) -> AsyncIterator[tuple[LiveServer, httpx.AsyncClient]]:
    """The service, and a client that reaches it through the proxy."""
    name = request.param
    if find_program(name) is None:
        pytest.skip(f"{name} is not installed")
    settings = load_settings(
        data_dir=data_dir,
        host="127.0.0.1",
        port=free_port(),
        callback_secret=MASTER,
        auth_jwt_secret=SECRET,
        metrics_token=SECRET,
        _env_file="",
    )
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = PROXIES[name](tmp_path, port, f"127.0.0.1:{settings.port}")
    token = jwt.encode({"sub": "ada", "exp": int(time.time()) + 3_600}, SECRET, "HS256")
    headers = {"Authorization": f"Bearer {token}", "Host": SITE}
    async with (
        serve_app(settings, DurableRunner()) as server,
        run_proxy(name, arguments, url, tmp_path),
        httpx.AsyncClient(base_url=url, headers=headers, timeout=20, trust_env=False) as client,
    ):
        yield server, client


async def upload_source(client: httpx.AsyncClient) -> str:
    """Send a file of some MiB through the proxy; return its key."""
    body = {"filename": "match.mp4", "size": UPLOAD_BYTES, "content_type": "video/mp4"}
    upload = (await client.post("/api/uploads", json=body)).raise_for_status().json()
    path = httpx.URL(upload["url"]).raw_path.decode()
    content = b"\0\0\0\x18ftypmp42".ljust(UPLOAD_BYTES, b"\0")
    (await client.put(path, content=content, headers=upload["headers"])).raise_for_status()
    key: str = upload["key"]
    return key


async def test_a_proxy_passes_what_the_service_needs(
    proxied: tuple[LiveServer, httpx.AsyncClient],
) -> None:
    server, client = proxied
    authorization = {"Authorization": client.headers["Authorization"]}
    assert (await server.http.get("/metrics")).status_code == 401
    assert (await client.get("/metrics")).status_code == 404
    clips = [{"start_time": 0, "end_time": 1, "name": "A"}]
    config = {"input_key": await upload_source(client), "clips": clips}
    body = {"type": "annotate", "config": config}
    job = (await client.post("/api/exports", json=body)).raise_for_status().json()
    run = await server.next_run()
    socket_url, port = f"ws://{SITE}/ws/export/{job['job_id']}", client.base_url.port
    async with (
        client.stream("GET", f"/api/exports/{job['job_id']}/events") as events,
        connect(socket_url, additional_headers=authorization, host="127.0.0.1", port=port) as socket,
        asyncio.timeout(20),
    ):
        lines = events.aiter_lines()
        assert json.loads(await socket.recv())["status"] == "pending"
        await read_until(lines, "pending")
        await run.report_started()
        await read_until(lines, "processing")  # while the response is open
        while json.loads(await socket.recv())["status"] != "processing":
            pass
        await run.report_failed()
        await read_until(lines, "error")


@pytest.mark.skipif(find_program("nginx") is None, reason="nginx is not installed")
async def test_nginx_asks_a_replica_again_that_has_just_failed(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if b"GET /fails" not in heads[-1]:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as replica:
        arguments = write_nginx(tmp_path, port, f"127.0.0.1:{replica.sockets[0].getsockname()[1]}")
        async with (
            run_proxy("nginx", arguments, url, tmp_path),
            httpx.AsyncClient(base_url=url, headers={"Host": SITE}, trust_env=False) as client,
        ):
            assert (await client.get("/fails")).status_code == 502
            assert (await client.get("/works")).status_code == 200


async def read_until(lines: AsyncIterator[str], status: str) -> None:
    """Read events until one has this status."""
    async for line in lines:
        if line.startswith("data:") and json.loads(line[5:]).get("status") == status:
            return
    raise AssertionError(f"the stream ended before the status {status}")
