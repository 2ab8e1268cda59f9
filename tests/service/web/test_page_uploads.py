"""Uploads from a page: whole, in parts, over a network that fails, after a reload, and aborted."""

from pathlib import Path
from typing import Any

from tests.service.web.node_page import NodePage
from tests.support.stream_server import StreamServer

FILE = """
const bytes = new Uint8Array(%d).map((_, index) => (index * 31 + (index >> 13)) & 255);
const file = new File([bytes], "match.mp4", { type: "video/mp4", lastModified: 1_700_000_000_000 });
const client = createClient({ baseUrl });
"""
SMALL = FILE % 300_000
LARGE = FILE % (20 * 2**20)
UPLOAD_LARGE = """
const progress = [];
const { key } = await client.upload(file, { onProgress: ({ loaded }) => progress.push(loaded) });
print({ key, progress, puts: calls.filter((call) => call.startsWith("PUT")).length, stored });
"""


def read_stored(server: StreamServer, key: str) -> bytes:
    return (server.settings.data_dir / "objects" / "local" / key).read_bytes()


def build_bytes(size: int) -> bytes:
    return bytes((index * 31 + (index >> 13)) & 255 for index in range(size))


def assert_large_is_stored(server: StreamServer, result: dict[str, Any]) -> None:
    size = 20 * 2**20
    assert read_stored(server, result["key"]) == build_bytes(size)
    progress = result["progress"]
    assert progress == sorted(progress)
    assert progress[-1] == size
    assert result["stored"] == {}


async def test_a_small_file_is_sent_whole(server: StreamServer, page: NodePage) -> None:
    [result] = await page.run(SMALL + "print(await client.upload(file)); ")
    assert result["size"] == 300_000
    assert read_stored(server, result["key"]) == build_bytes(300_000)


async def test_a_recording_without_a_name_is_given_one(page: NodePage) -> None:
    script = 'const blob = new Blob(["video"], { type: "video/webm" });'
    script += 'print(await client.upload(blob, { filename: "take.webm" }));'
    [result] = await page.run(SMALL + script)
    assert result["key"].endswith("/take.webm")


async def test_a_large_file_is_sent_in_parts(server: StreamServer, page: NodePage) -> None:
    [result] = await page.run(LARGE + UPLOAD_LARGE)
    assert_large_is_stored(server, result)
    assert result["puts"] == 3


async def test_parts_survive_a_network_that_fails_every_second_time(
    server: StreamServer, page: NodePage
) -> None:
    failing = """
    let count = 0;
    fail = (url, { method }) => {
      const isCompletion = method === "POST" && url.endsWith("complete");
      if ((method === "PUT" || isCompletion) && ++count % 2) throw new TypeError("The network failed.");
    };
    """
    [result] = await page.run(LARGE + failing + UPLOAD_LARGE)
    assert_large_is_stored(server, result)


async def test_urls_of_parts_that_have_expired_are_replaced(server: StreamServer, page: NodePage) -> None:
    expired = """
    const refused = new Set();
    fail = (url, { method }) => {
      if (method !== "PUT" || refused.size === 3) return undefined;
      refused.add(url);
      return new Response('{"type":"urn:framehook:problem:forbidden"}', { status: 403 });
    };
    """
    [result] = await page.run(LARGE + expired + UPLOAD_LARGE)
    assert_large_is_stored(server, result)


async def test_an_upload_goes_on_after_the_page_was_closed(server: StreamServer, page: NodePage) -> None:
    closing = """
    fail = (url, { method }) => {
      if (method === "PUT" && calls.some((call) => call.startsWith("PUT"))) return new Promise(() => {});
    };
    client.upload(file, { onProgress: () => { print("one part"); process.exit(); } });
    """
    assert await page.run(LARGE + closing) == ["one part"]
    [result] = await page.run(LARGE + UPLOAD_LARGE)
    assert_large_is_stored(server, result)
    assert result["puts"] == 2


async def test_another_file_of_the_same_name_does_not_go_on_with_the_upload(
    server: StreamServer, page: NodePage
) -> None:
    started = "client.upload(file, { onProgress: () => { print(0); process.exit(); } });"
    await page.run(LARGE + started)
    other = LARGE.replace("1_700_000_000_000", "1_700_000_000_001")
    [result] = await page.run(other + UPLOAD_LARGE.replace(", stored", ", stored: {}"))
    assert_large_is_stored(server, result)
    assert result["puts"] == 3


async def test_an_upload_that_the_service_has_deleted_starts_again(
    server: StreamServer, page: NodePage
) -> None:
    script = """
    const controller = new AbortController();
    client.upload(file, { onProgress: () => { print(Object.values(stored)[0]); process.exit(); } });
    """
    [upload] = await page.run(LARGE + script)
    assert (await server.client.delete(f"/api/uploads/{upload}")).status_code == 204
    [result] = await page.run(LARGE + UPLOAD_LARGE)
    assert_large_is_stored(server, result)


async def test_an_abort_deletes_what_has_arrived(server: StreamServer, page: NodePage) -> None:
    script = """
    const controller = new AbortController();
    let token;
    const onProgress = () => { token ??= Object.values(stored)[0]; controller.abort(); };
    try {
      await client.upload(file, { signal: controller.signal, onProgress });
    } catch (error) {
      print({ name: error.name, token, stored });
    }
    """
    [result] = await page.run(LARGE + script)
    assert (result["name"], result["stored"]) == ("AbortError", {})
    assert (await server.client.get(f"/api/uploads/{result['token']}")).status_code == 404


async def test_an_upload_that_is_refused_says_why(page: NodePage, tmp_path: Path) -> None:
    script = """
    const text = new File(["a"], "notes.txt", { type: "text/plain" });
    try { await client.upload(text); } catch ({ status, code, detail }) { print({ status, code, detail }); }
    const puts = () => calls.filter((call) => call.startsWith("PUT")).length;
    fail = (url, { method }) => {
      if (method === "PUT") return new Response('{"type":"urn:x:disk_full","detail":"Full."}', { status: 507 });
    };
    for (const partsFrom of [1, undefined]) {
      try { await client.upload(file, { partsFrom }); } catch ({ code }) { print({ code, puts: puts() }); }
    }
    """
    first, parts, whole = await page.run(SMALL + script)
    assert (first["status"], first["code"]) == (415, "unsupported_type")
    assert (parts["code"], whole["code"]) == ("disk_full", "disk_full")
    assert whole["puts"] <= 8
