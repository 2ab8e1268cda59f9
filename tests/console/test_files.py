"""The files of the console: how large they are, and that what browsers get means what was written."""

from pathlib import Path

from service.api.pages.console import CHOICES, FILES, PAGE
from service.api.portal.page import FOLDER as PORTAL
from tests.console.console_page import ConsolePage
from tests.support.npm.node_runtime import run_program
from tests.support.service_process import ServiceProcess

MAX_BYTES, MAX_FIRST_PAGE_BYTES = 150_000, 75_000
CLIENT_PATH = PAGE.parents[1] / "framehook.js"
SCRIPTS = {name: (path, f"/console/{name}") for name, path in FILES.items() if path.suffix == ".js"} | {
    "framehook.js": (CLIENT_PATH, "/framehook.js"),
    "portal.js": (PORTAL / "portal.js", "/portal/portal.js"),
}
READ_RULES = """text => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return [...sheet.cssRules].map((rule) => rule.cssText.replaceAll(", ", ","));
}"""


async def fetch(service: ServiceProcess, path: str) -> bytes:
    response = await service.http.get(path)
    assert response.status_code == 200
    return response.content


async def test_the_console_is_small(console: ConsolePage, service: ServiceProcess) -> None:
    loaded: set[str] = set()
    console.page.on("request", lambda request: loaded.add(request.url.removeprefix(console.url)))
    await console.open("#/")
    paths = ["/", "/framehook.js", *(f"/console/{name}" for name in (*FILES, CHOICES))]
    sizes = {path: len(await fetch(service, path)) for path in paths}
    first = [size for path, size in sizes.items() if path in loaded]
    assert len(first) > 10
    assert sum(first) <= MAX_FIRST_PAGE_BYTES
    assert sum(sizes.values()) <= MAX_BYTES


async def test_the_page_names_every_script_that_the_list_needs_so_that_none_waits_for_another(
    console: ConsolePage,
) -> None:
    loaded: set[str] = set()
    console.page.on("request", lambda request: loaded.add(request.url.removeprefix(console.url)))
    await console.open("#/")
    preloaded = await console.page.eval_on_selector_all(
        "[rel=modulepreload]", "links => links.map((link) => link.getAttribute('href'))"
    )
    assert {path for path in loaded if path.endswith(".js")} == {*preloaded, "/console/main.js"}


async def test_scripts_mean_the_same_without_their_comments_and_indentation(
    service: ServiceProcess, npm_folder: Path
) -> None:
    def minify(kind: str) -> list[str]:
        entries = [f"{kind}/{name}" for name in SCRIPTS]
        run_program(
            npm_folder, "esbuild", *entries, "--minify", f"--outdir={kind}-out", "--log-level=warning"
        )
        return [(npm_folder / f"{kind}-out" / name).read_text() for name in SCRIPTS]

    for name, (path, address) in SCRIPTS.items():
        contents = {"written": path.read_bytes(), "sent": await fetch(service, address)}
        for kind, content in contents.items():
            target = npm_folder / kind / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    assert minify("sent") == minify("written")


async def test_styles_mean_the_same_without_their_spaces(
    console: ConsolePage, service: ServiceProcess
) -> None:
    await console.open("#/")
    written = await console.page.evaluate(READ_RULES, FILES["style.css"].read_text())
    sent = await console.page.evaluate(READ_RULES, (await fetch(service, "/console/style.css")).decode())
    assert len(written) > 100
    assert sent == written
