"""What is deployed, as far as it can be tried without an engine: read as an engine reads it, and run as a process."""

import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from infra.modal_local.__main__ import arguments as modal_local_arguments
from service.settings import Settings, load

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
BIN = Path(sys.executable).parent
SECRET = "a secret for tokens that is long enough to be one"
OF_THE_SDK = {"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_SERVER_URL"}
KNOWN = {name.upper() for name in Settings.model_fields}
STARTS_SECONDS, STOPS_SECONDS = 30, 15
FILLED = {
    "POSTGRES_PASSWORD": "f00d",
    "CALLBACK_SECRET": SECRET,
    "AUTH_JWT_SECRET": SECRET,
}


# The image


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, in order."""
    text = "\n".join(line for line in dockerfile().splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in text.replace("\\\n", "").splitlines() if line.strip()]
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines]


def dockerfile() -> str:
    return (INFRA / "Dockerfile").read_text()


def last_stage() -> list[tuple[str, str]]:
    """What makes the image that is shipped; the stages before are thrown away."""
    found = instructions()
    begins = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    return found[begins:]


def only(name: str) -> str:
    (value,) = [value for found, value in last_stage() if found == name]
    return value


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(only("ENV")))


def health_command() -> list[str]:
    found = re.search(r"CMD\s+(\[.*\])", only("HEALTHCHECK"))
    assert found
    command: list[str] = json.loads(found[1])
    return command


def test_the_dockerfile_has_nothing_to_be_said_against() -> None:
    found = subprocess.run(
        [BIN / "hadolint", "--no-color", INFRA / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_both_stages_begin_with_one_python_of_a_pinned_version() -> None:
    found = instructions()
    (version,) = [value for name, value in found if name == "ARG"]
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", version)
    bases = [value.split()[0] for name, value in found if name == "FROM"]
    assert bases == ["python:${PYTHON}"] * 2
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version.removeprefix("PYTHON=").startswith(oldest.removeprefix(">="))


def test_the_image_runs_as_nobody_in_particular_and_holds_no_compiler() -> None:
    stage = last_stage()
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", only("USER"))
    assert not any(
        re.search(r"pip |apt|gcc|build-essential", value) for name, value in stage if name == "RUN"
    )
    assert ("VOLUME", image_environment()["DATA_DIR"]) in stage
    assert [name for name, _ in stage][-1] == "CMD"


def test_everything_that_is_installed_has_a_locked_version() -> None:
    installs = re.findall(r"pip install [^&]*", dockerfile().replace("\\\n", ""))
    assert installs
    assert all("--only-binary=:all:" in line or "--no-deps" in line for line in installs)
    assert "PIP_CONSTRAINT=/build/requirements.lock" in dockerfile()
    locked = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["build-system"]["requires"]
    assert {re.split(r"[\[<>=;]", line)[0] for line in wanted} <= locked


def test_what_is_copied_is_there_and_let_in() -> None:
    let_in = {
        line[1:]
        for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        path
        for name, value in instructions()
        if name == "COPY" and "--from" not in value
        for path in value.split()[:-1]
    ]
    assert set(copied) == let_in
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_knows_settings_and_no_secrets() -> None:
    environment = image_environment()
    ours = set(environment) - {"PATH", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert ours <= KNOWN
    assert not any(re.search("SECRET|TOKEN|KEY|PASSWORD", name) for name in environment)
    assert not any(name in ("ARG", "ENV") and "SECRET" in value for name, value in instructions())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_all_that_runs_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT))
        for package in ("callbacks", "gpu", "infra", "service")
        for path in (ROOT / package).rglob("*.py")
        if (INFRA / "bench") not in path.parents
    }
    markers = {f"{package}/py.typed" for package in ("callbacks", "gpu", "infra", "service")}
    others = {"service/migrations/script.py.mako", "gpu/requirements.lock"}
    assert names >= sources | markers | others
    assert not [name for name in names if name.startswith(("tests/", "infra/bench/", "var/"))]
    assert {Path(name).suffix for name in names - sources - markers - others} <= {
        ".js",
        ".html",
        ".css",
        ".svg",
        ".py",
    }


def test_the_versions_for_the_modal_image_come_with_the_wheel(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("gpu/requirements.lock") == (ROOT / "requirements.lock").read_bytes()


class Image:
    """What the image's entry command is run with: its environment and a user who owns nothing but the data folder."""

    def __init__(self, data_dir: Path, port: int) -> None:
        self.data_dir = data_dir
        self.environment = image_environment() | {
            "PATH": f"{BIN}{os.pathsep}/usr/bin:/bin",
            "PORT": str(port),
            "DATA_DIR": str(data_dir),
            "HOME": str(data_dir),
        }
        self.url = f"http://127.0.0.1:{port}"
        self.user = unused_user() if os.geteuid() == 0 and shutil.which("setpriv") else None
        self.as_user: list[str] = []
        if self.user:
            os.chown(data_dir, self.user, self.user)
            # Reads what it likes, for the interpreter may lie in root's home; writes what it owns.
            reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
            self.as_user = [
                "setpriv",
                f"--reuid={self.user}",
                f"--regid={self.user}",
                "--clear-groups",
                *reads,
            ]

    def start(self, command: list[str], **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.as_user, *command],
            cwd="/",
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: list[str], **environment: str) -> tuple[int, str]:
        with self.start(command, **environment) as process:
            said, _ = process.communicate(timeout=STARTS_SECONDS)
            return process.returncode, said

    @contextmanager
    def serving(self) -> Iterator["subprocess.Popen[str]"]:
        """The service, once it answers."""
        with self.start(json.loads(only("CMD")), AUTH_JWT_SECRET=SECRET) as process:
            try:
                for line in process.stdout or ():
                    if "Uvicorn running" in line:
                        break
                yield process
            finally:
                process.kill()


def unused_user() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {
        found.stat().st_uid for found in Path(tempfile.gettempdir()).iterdir()
    }
    return next(number for number in range(10_001, 60_000) if number not in taken)


@pytest.fixture
def image() -> Iterator[Image]:
    folder = Path(tempfile.mkdtemp(prefix="framehook-image-"))
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    yield Image(folder, port)
    shutil.rmtree(folder)


def test_without_authentication_the_image_says_why_it_does_not_start(image: Image) -> None:
    status, said = image.run(json.loads(only("CMD")))
    assert status == 2
    assert said == (
        "framehook: HOST '0.0.0.0' is not a loopback address: without AUTH_JWT_SECRET or AUTH_JWKS_URL "
        "the service has a single local user and listens on 127.0.0.1 only\n"
    )


def test_the_image_starts_answers_its_own_health_check_and_stops_when_told(image: Image) -> None:
    assert image.run(health_command())[0] != 0
    with image.serving() as process:
        assert image.run(health_command()) == (0, "")
        assert httpx.get(f"{image.url}/readyz", trust_env=False).status_code == 200
        assert httpx.get(f"{image.url}/api/exports", trust_env=False).status_code == 401
        process.send_signal(signal.Signals[only("STOPSIGNAL")])
        process.communicate(timeout=STOPS_SECONDS)
        assert process.returncode in (0, -signal.Signals[only("STOPSIGNAL")])
    assert (image.data_dir / "framehook.db").exists()
    if image.user:
        places = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm") if Path(place).is_dir()]  # noqa: S108
        written = {found for place in places for found in place.iterdir() if owner(found) == image.user}
        assert written == {image.data_dir}


def owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return None


def test_the_image_upgrades_a_database_before_it_serves(image: Image) -> None:
    command = fly()["deploy"]["release_command"].split()
    assert image.run(command, AUTH_JWT_SECRET=SECRET) == (0, "The database is up to date.\n")


# Compose


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
    return found


def filled(value: str, given: dict[str, str]) -> str:
    """A value with its variables, as Compose puts them in."""

    def one(found: re.Match[str]) -> str:
        name, kind, rest = found[1], found[2], found[3] or ""
        if kind == ":?" and not given.get(name):
            raise KeyError(name)
        return given.get(name) or (rest if kind == ":-" else "")

    return re.sub(r"\$\{(\w+)(:[-?])?([^}]*)\}", one, value)


def environment_of(name: str, given: dict[str, str]) -> dict[str, str]:
    variables = compose()["services"][name].get("environment", {})
    return {name: filled(str(value), given) for name, value in variables.items()}


OURS = ["service", "upgrade", "bucket", "modal-local", "modal-deploy"]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_our_containers_is_a_setting(name: str) -> None:
    assert set(environment_of(name, FILLED)) <= KNOWN | OF_THE_SDK


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param({}, id="folder"),
        pytest.param(
            {
                "R2_ENDPOINT_URL": "http://storage.localhost:8333",
                "R2_ACCESS_KEY_ID": "a",
                "R2_SECRET_ACCESS_KEY": "b",
                "R2_BUCKET_NAME": "c",
            },
            id="storage",
        ),
        pytest.param({"MODAL_ENABLED": "true"}, id="modal"),
    ],
)
def test_the_service_takes_what_compose_gives_it(
    choices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    for name, value in (image_environment() | environment_of("service", FILLED | choices)).items():
        if name in KNOWN:
            monkeypatch.setenv(name, value)
    settings = load(_env_file="")
    assert settings.authenticated
    assert settings.database_url == "postgresql://framehook:f00d@database:5432/framehook"
    assert settings.modal_enabled == (choices.get("MODAL_ENABLED") == "true")
    assert (settings.r2_bucket_name or "") == choices.get("R2_BUCKET_NAME", "")


@pytest.mark.parametrize("missing", sorted(FILLED))
def test_a_secret_that_is_not_given_has_no_default(missing: str) -> None:
    given = {name: value for name, value in FILLED.items() if name != missing}
    with pytest.raises(KeyError, match=missing):
        environment_of("service", given)


def test_the_example_of_an_environment_names_what_compose_reads_and_holds_no_secret() -> None:
    example = dict(
        line.split("=", 1)
        for line in (INFRA / "compose.env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    read = set(re.findall(r"\$\{(\w+)", (INFRA / "compose.yaml").read_text()))
    assert read - set(example) == {"FRAMEHOOK_IMAGE", "STORAGE_IMAGE", "MODAL_APP_NAME", "MODAL_GPU"}
    assert set(example) - read == {"COMPOSE_PROFILES"}
    assert not any(value for name, value in example.items() if re.search("SECRET|PASSWORD|KEY|TOKEN", name))


def test_what_is_named_in_compose_is_defined_in_it() -> None:
    services, volumes = compose()["services"], compose()["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(volumes)
        assert {config["source"] for config in service.get("configs", [])} <= set(compose()["configs"])
        assert service.get("build") or "image" in service
    image = services["service"]["build"]
    assert (INFRA / image["context"] / image["dockerfile"]).resolve() == INFRA / "Dockerfile"


def test_two_replicas_stand_behind_the_proxy_and_share_what_a_folder_keeps() -> None:
    services = compose()["services"]
    assert filled(services["service"]["deploy"]["replicas"], {}) == "2"
    assert "ports" not in services["service"]
    assert services["service"]["volumes"] == ["files:/data"]
    caddyfile = compose()["configs"]["caddyfile"]["content"]
    assert f"name service\n      port {image_environment()['PORT']}" in re.sub(r" {6,}", "      ", caddyfile)


def test_the_image_stops_sooner_than_it_is_killed() -> None:
    assert compose()["services"]["service"]["stop_grace_period"] == "30s"
    assert fly()["kill_timeout"] == "30s"
    assert fly()["kill_signal"] == only("STOPSIGNAL")


@pytest.mark.parametrize("name", ["upgrade", "bucket", "modal-local", "modal-deploy"])
def test_the_commands_of_compose_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = compose()["services"][name]["command"]
    if name == "modal-local":
        monkeypatch.setattr(sys, "argv", words[1:])
        options = modal_local_arguments()
        assert (options.address, options.host, options.port) == ("0.0.0.0", "modal-local", 9000)  # noqa: S104
        return
    known = words if name != "modal-deploy" else words[:1]
    asked = subprocess.run([BIN / program, *known, "--help"], capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert name != "modal-deploy" or words[1:] == ["-m", "gpu.modal_app"]


# Fly


def fly() -> dict[str, Any]:
    return tomllib.loads((INFRA / "fly.toml").read_text())


def test_fly_builds_the_same_image_and_asks_after_it() -> None:
    found = fly()
    assert {(INFRA / found["build"][name]).exists() for name in ("dockerfile", "ignorefile")} == {True}
    assert str(found["http_service"]["internal_port"]) == image_environment()["PORT"]
    assert found["http_service"]["auto_stop_machines"] == "off"
    assert [check["path"] for check in found["http_service"]["checks"]] == ["/healthz"]
    assert found["checks"]["ready"]["path"] == "/readyz"
    assert set(found["env"]) <= KNOWN
    assert not any(re.search("SECRET|KEY", name) for name in found["env"])
