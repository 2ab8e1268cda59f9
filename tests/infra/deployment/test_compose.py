"""In compose.yaml each variable is a setting, and no secret has a default."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.modal_local.__main__ import parse_arguments as modal_local_arguments
from service.settings import load_settings
from tests.infra.deployment.deployment_files import (
    INFRA,
    SECRET,
    SETTING_NAMES,
    compose,
    fly,
    image_environment,
    instruction,
)

BIN = Path(sys.executable).parent
MODAL_SDK_NAMES = {"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_SERVER_URL"}
SECRETS = {
    "POSTGRES_PASSWORD": "f00d",
    "CALLBACK_SECRET": SECRET,
    "AUTH_JWT_SECRET": SECRET,
}


def substitute(value: str, given: dict[str, str]) -> str:
    """Replace variables as Compose does; raises KeyError for a missing required one."""

    def value_of(match: re.Match[str]) -> str:
        name, kind, rest = match[1], match[2], match[3] or ""
        if kind == ":?" and not given.get(name):
            raise KeyError(name)
        return given.get(name) or (rest if kind == ":-" else "")

    return re.sub(r"\$\{(\w+)(:[-?])?([^}]*)\}", value_of, value)


def environment_of(name: str, given: dict[str, str]) -> dict[str, str]:
    variables = compose()["services"][name].get("environment", {})
    return {name: substitute(str(value), given) for name, value in variables.items()}


def test_compose_is_valid() -> None:
    command = (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    result = subprocess.run(
        [*command, str(INFRA / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


OWN_SERVICES = ["service", "upgrade", "bucket", "modal-local", "modal-deploy"]


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_every_variable_of_own_containers_is_a_setting(name: str) -> None:
    assert set(environment_of(name, SECRETS)) <= SETTING_NAMES | MODAL_SDK_NAMES


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
def test_the_service_accepts_the_environment_of_compose(
    choices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SETTING_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in (image_environment() | environment_of("service", SECRETS | choices)).items():
        if name in SETTING_NAMES:
            monkeypatch.setenv(name, value)
    settings = load_settings(_env_file="")
    assert settings.authenticated
    assert settings.database_url == "postgresql://framehook:f00d@database:5432/framehook"
    assert settings.modal_enabled == (choices.get("MODAL_ENABLED") == "true")
    assert (settings.r2_bucket_name or "") == choices.get("R2_BUCKET_NAME", "")


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_secrets_have_no_default(missing: str) -> None:
    given = {name: value for name, value in SECRETS.items() if name != missing}
    with pytest.raises(KeyError, match=missing):
        environment_of("service", given)


def test_the_example_environment_has_every_variable_and_no_secret() -> None:
    example = dict(
        line.split("=", 1)
        for line in (INFRA / "compose.env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    read = set(re.findall(r"\$\{(\w+)", (INFRA / "compose.yaml").read_text()))
    assert read - set(example) == {"FRAMEHOOK_IMAGE", "STORAGE_IMAGE", "MODAL_APP_NAME", "MODAL_GPU"}
    assert set(example) - read == {"COMPOSE_PROFILES"}
    assert not any(value for name, value in example.items() if re.search("SECRET|PASSWORD|KEY|TOKEN", name))


def test_every_reference_in_compose_is_defined() -> None:
    services, volumes = compose()["services"], compose()["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(volumes)
        assert {config["source"] for config in service.get("configs", [])} <= set(compose()["configs"])
        assert service.get("build") or "image" in service
    image = services["service"]["build"]
    assert (INFRA / image["context"] / image["dockerfile"]).resolve() == INFRA / "Dockerfile"


def test_two_replicas_run_behind_the_proxy_and_share_a_volume() -> None:
    services = compose()["services"]
    assert substitute(services["service"]["deploy"]["replicas"], {}) == "2"
    assert "ports" not in services["service"]
    assert services["service"]["volumes"] == ["files:/data"]
    caddyfile = compose()["configs"]["caddyfile"]["content"]
    assert f"name service\n      port {image_environment()['PORT']}" in re.sub(r" {6,}", "      ", caddyfile)


def test_the_proxy_does_not_know_the_port_of_the_metrics() -> None:
    port = environment_of("service", SECRETS)["METRICS_PORT"]
    assert port != image_environment()["PORT"]
    assert port not in compose()["configs"]["caddyfile"]["content"]
    assert not any(port in str(service.get("ports")) for service in compose()["services"].values())


def test_the_grace_period_is_longer_than_a_shutdown() -> None:
    assert compose()["services"]["service"]["stop_grace_period"] == "30s"
    assert fly()["kill_timeout"] == "30s"
    assert fly()["kill_signal"] == instruction("STOPSIGNAL")


@pytest.mark.parametrize("name", ["upgrade", "bucket", "modal-local", "modal-deploy"])
def test_the_commands_of_compose_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = compose()["services"][name]["command"]
    if name == "modal-local":
        monkeypatch.setattr(sys, "argv", words[1:])
        options = modal_local_arguments()
        assert (options.address, options.host, options.port) == ("0.0.0.0", "modal-local", 9000)  # noqa: S104
        return
    arguments = words if name != "modal-deploy" else words[:1]
    result = subprocess.run(
        [BIN / program, *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert name != "modal-deploy" or words[1:] == ["-m", "gpu.modal_app"]
