"""Check a page for accessibility."""

from pathlib import Path

from playwright.async_api import Page


async def find_violations(page: Page, npm_packages: Path) -> list[str]:
    """Return what axe finds wrong with the page, in light and in dark."""
    violations: list[str] = []
    source = (npm_packages / "node_modules" / "axe-core" / "axe.min.js").read_text()
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await page.evaluate(source)
        result = await page.evaluate("axe.run()")
        violations += [
            f"{scheme}: {violation['id']} at {node['target']}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]
    return violations
