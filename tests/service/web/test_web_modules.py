"""The JavaScript modules: how they are served, how large they are, and that their types are true."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

from rjsmin import jsmin

from service.api.pages.web_modules import CLIENT, MODULES
from tests.support.app_harness import AppHarness
from tests.support.npm.node_runtime import NODE, run_program

WEB = Path(__file__).parents[3] / "service" / "web"

USE = """
import { createClient, hasEnded, FramehookProblem, type Export, type Watch } from "framehook";

const client = createClient({ baseUrl: "https://exports.example.com", token: async () => "token" });

export async function exportFile(file: File): Promise<string> {
  const { key } = await client.upload(file, { onProgress: ({ fraction }) => console.log(fraction) });
  const job = await client.export("framing", { input_key: key }, { projectId: 7, metadata: { tag: "a" } });
  const watch: Watch = client.watch(job.job_id, { onEnd: (ended) => console.log(ended.output?.url) });
  await watch.done;
  for await (const state of client.watch({ status: ["pending", "processing"], projectId: 7 })) {
    if (hasEnded(state)) break;
  }
  try {
    return (await client.downloadUrl(job.job_id, { disposition: "inline", expiresIn: 600 })).url;
  } catch (error) {
    if (error instanceof FramehookProblem && error.isNetworkError) return error.code;
    throw error;
  }
}

export const states: Export[] = (await client.recover()).active;
"""
MISUSE = """
import { createClient } from "framehook";
createClient({ token: 7 });
"""


async def test_a_page_of_any_origin_may_load_the_module(app: AppHarness) -> None:
    for name in MODULES:
        answer = await app.client.get(f"/{name}", headers={"origin": "https://shop.example"})
        written = (WEB / name).read_text()
        assert answer.text == (jsmin(written) if name == CLIENT else written)
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_module_that_has_not_changed_is_not_sent_again(app: AppHarness) -> None:
    for encoding in ("gzip", "identity"):
        headers = {"accept-encoding": encoding}
        etag = (await app.client.get("/framehook.js", headers=headers)).headers["etag"]
        again = await app.client.get("/framehook.js", headers=headers | {"if-none-match": etag})
        assert (again.status_code, again.content) == (304, b"")
        other = await app.client.get("/framehook.js", headers=headers | {"if-none-match": '"other"'})
        assert other.status_code == 200


async def test_a_client_that_takes_no_gzip_gets_the_same_text(app: AppHarness) -> None:
    plain = await app.client.get("/framehook.js", headers={"accept-encoding": "identity"})
    compressed = await app.client.get("/framehook.js", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert plain.content == compressed.content
    assert plain.headers["etag"] != compressed.headers["etag"]


def test_the_package_for_npm_names_files_that_exist_and_nothing_to_install() -> None:
    package = json.loads((WEB / "package.json").read_text())
    assert [name for name in package["files"] if not (WEB / name).is_file()] == []
    assert "dependencies" not in package
    targets = {target for entry in package["exports"].values() for target in entry.values()}
    assert {target.removeprefix("./") for target in targets} <= set(package["files"])


def test_a_page_in_strict_typescript_compiles_and_a_wrong_one_does_not(npm_folder: Path) -> None:
    (npm_folder / "packages").mkdir()
    shutil.copytree(WEB, npm_folder / "packages" / "framehook")
    options: dict[str, object] = {"strict": True, "noEmit": True, "skipLibCheck": False, "types": []}
    options |= {
        "module": "esnext",
        "target": "es2022",
        "moduleResolution": "bundler",
        "lib": ["es2023", "dom"],
    }
    options["paths"] = {"framehook": ["./packages/framehook/framehook.d.ts"]}
    (npm_folder / "page.ts").write_text(USE)
    (npm_folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["page.ts"]}))
    run_program(npm_folder, "tsc", "--project", ".")
    (npm_folder / "page.ts").write_text(MISUSE)
    compiler = subprocess.run(
        [NODE, npm_folder / "node_modules" / ".bin" / "tsc", "--project", "."],
        cwd=npm_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "TS2322" in compiler.stdout


def test_the_types_name_every_method_of_the_module(tmp_path: Path) -> None:
    script = f"""
        import * as module from "{(WEB / "framehook.js").as_uri()}";
        const client = module.createClient({{ baseUrl: "http://127.0.0.1:1" }});
        console.log(JSON.stringify([...Object.keys(module), ...Object.keys(client)]));
    """
    printed = subprocess.run(
        [NODE, "--input-type=module", "-e", script], check=True, capture_output=True, text=True
    ).stdout
    types = (WEB / "framehook.d.ts").read_text()
    names = set(json.loads(printed))
    assert {name for name in names if f" {name}(" not in types and f" {name} " not in types} == set()


def test_the_module_has_at_most_8_kib_on_its_way_to_a_page() -> None:
    module = (WEB / "framehook.js").read_bytes()
    assert max(len(gzip.compress(module, level, mtime=0)) for level in (6, 9)) <= 8 * 1024
