"""Compose: every variable a setting, no secret with a default, every command one that exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.modal_local.__main__ import arguments as modal_local_arguments
from service.settings import load_settings
from tests.infra.deployment.deployment_files import (
    INFRA,
    KNOWN,
    SECRET,
    compose,
    fly,
    image_environment,
    only,
)

BIN = Path(sys.executable).parent
OF_THE_SDK = {"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_SERVER_URL"}
FILLED = {
    "POSTGRES_PASSWORD": "f00d",
    "CALLBACK_SECRET": SECRET,
    "AUTH_JWT_SECRET": SECRET,
}


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


def test_compose_is_what_its_specification_allows() -> None:
    command = (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    found = subprocess.run(
        [*command, str(INFRA / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


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
    settings = load_settings(_env_file="")
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
