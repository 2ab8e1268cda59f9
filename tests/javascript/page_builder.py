"""Compile TypeScript pages against the modules of `service/web`, and bundle them."""

import json
import shutil
from pathlib import Path

from tests.support.npm.node_runtime import run_program

WEB = Path(__file__).parents[2] / "service" / "web"
_OPTIONS: dict[str, object] = {
    "strict": True,
    "noEmit": True,
    "skipLibCheck": False,
    "module": "esnext",
    "moduleResolution": "bundler",
    "target": "es2022",
    "lib": ["es2023", "dom", "dom.iterable"],
    "jsx": "react-jsx",
    "types": ["react", "react-dom"],
    "paths": {
        "framehook": ["./packages/framehook/framehook.d.ts"],
        "framehook/*": ["./packages/framehook/framehook-*.d.ts"],
    },
}
HTML = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Page</title><link rel="icon" href="data:,"></head>
<body><div id="root"></div><script src="page.js"></script></body>
</html>
"""


def compile_page(folder: Path, source: str) -> None:
    """Check a page with the strict compiler; the packages are those of `npm_folder`, and `framehook` is ours."""
    shutil.copytree(WEB, folder / "packages" / "framehook", dirs_exist_ok=True)
    (folder / "page.tsx").write_text(source)
    config = {"compilerOptions": _OPTIONS, "files": ["page.tsx"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    run_program(folder, "tsc", "--project", ".")


def build_page(folder: Path, source: str, *, platform: str = "browser") -> Path:
    """Compile a page, bundle it into one script, and write `index.html`, which loads that; returns the script."""
    compile_page(folder, source)
    script = folder / ("page.cjs" if platform == "node" else "page.js")
    modules = {
        "framehook": "framehook",
        "framehook/react": "framehook-react",
        "framehook/element": "framehook-element",
    }
    aliases = [f"--alias:{name}=./packages/framehook/{file}.js" for name, file in modules.items()]
    flags = [
        "--bundle",
        f"--platform={platform}",
        f"--outfile={script.name}",
        "--jsx=automatic",
        "--log-level=warning",
    ]
    run_program(folder, "esbuild", "page.tsx", *flags, *aliases)
    (folder / "index.html").write_text(HTML)
    return script
