"""The npm packages of the tests: pinned, from any registry, and enough to compile and open a page."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.npm.node_runtime import run_program

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

DECLARED = Path(__file__).parent / "support" / "npm"
PAGE = """
import { createElement } from "react";
import { createRoot } from "react-dom/client";

const root: HTMLElement = document.body;
createRoot(root).render(createElement("h1", null, "It works"));
"""


def test_each_package_is_declared_in_an_exact_version() -> None:
    declared = json.loads((DECLARED / "package.json").read_text())["devDependencies"]
    assert [name for name, version in declared.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((DECLARED / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []


async def test_a_typescript_page_compiles_and_opens(
    npm_folder: Path, browser_context: "BrowserContext"
) -> None:
    (npm_folder / "page.ts").write_text(PAGE)
    run_program(npm_folder, "tsc", "--strict", "--noEmit", "--module", "preserve", "page.ts")
    run_program(npm_folder, "esbuild", "page.ts", "--bundle", "--outfile=page.js", "--log-level=warning")
    page = await browser_context.new_page()
    await page.set_content("<body></body>")
    await page.add_script_tag(path=npm_folder / "page.js")
    assert await page.inner_text("h1") == "It works"
