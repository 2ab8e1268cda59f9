"""The Python client as a program finds it that has the wheel, and not the checkout, installed."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.infra.deployment.deployment_files import ROOT

PROGRAM = """
import asyncio

import framehook


def export(client: framehook.Client, path: str) -> int:
    job = client.create_export("framing", {"input_key": client.upload(path)}, project_id=7)
    for state in client.watch(job, on_disconnect=print):
        job = state
    assert job.output is not None
    return job.output.size


async def list_exports(client: framehook.AsyncClient) -> list[framehook.Export]:
    return [export async for export in client.list(status=["error"], project_id="7")]


def code_of(error: framehook.Problem) -> str:
    return f"{error.code} {error.errors[0].name} {error.retry_after_seconds}"


def secret_of(client: framehook.Client) -> str | None:
    return client.webhooks.create("https://example.org", events=["export.completed"]).secret


with framehook.Client("http://127.0.0.1:9", retries=0) as client:
    try:
        client.get("job")
    except framehook.Unreachable as error:
        print(error)
"""

REPORT = """
import sys
import framehook
print(framehook.__file__)
heavy = {"service", "gpu", "infra", "sqlalchemy", "av", "starlette", "pydantic", "modal", "boto3"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment: the wheel, and the dependencies of this one without its checkout."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    build: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    python = folder / "env" / "bin" / "python"
    wheel = next(folder.glob("*.whl"))
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    (site_packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_the_client_is_imported_without_the_service(python: Path, tmp_path: Path) -> None:
    report = subprocess.run(
        [python, "-c", REPORT], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    path, heavy = report.splitlines()
    assert Path(path).is_relative_to(python.parents[1])
    assert heavy == "[]"


def test_a_program_that_uses_the_client_is_fully_typed_and_runs(python: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--strict", "--python-executable", str(python), "--cache-dir", str(tmp_path / "cache")]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, program.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.stdout, checked.returncode) == ("Success: no issues found in 1 source file\n", 0)
    ran = subprocess.run([python, program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("http://127.0.0.1:9 can't be reached: ")
