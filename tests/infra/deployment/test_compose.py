"""In compose.yaml each variable is a setting, and no secret has a default."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.modal_local.__main__ import parse_arguments as modal_local_arguments
from tests.infra.deployment.deployment_files import (
    INFRA,
    SECRET,
    SETTING_NAMES,
    compose,
    fly,
    image_environment,
    instruction,
    load_from_environment,
    read_env_file,
)

BIN = Path(sys.executable).parent
SDK_NAMES = {
    *("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_SERVER_URL"),
    *("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"),
    *("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
}
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
    """Return what a container gets; a name without a value is unset in it unless it is given."""
    variables = compose()["services"][name].get("environment", {})
    values = {name: given.get(name) if value is None else value for name, value in variables.items()}
    return {name: substitute(str(value), given) for name, value in values.items() if value is not None}


def test_compose_is_valid() -> None:
    command = (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    result = subprocess.run(
        [*command, str(INFRA / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


OWN_SERVICES = ["service", "upgrade", "bucket", "modal-local", "modal-deploy"]


SET_BY_THE_IMAGE = {"HOST", "PORT", "DATA_DIR"}
SET_BY_COMPOSE = {"DATABASE_URL", "METRICS_PORT"}


@pytest.mark.parametrize("name", ["service", "upgrade", "bucket", "modal-deploy"])
def test_every_setting_reaches_the_containers_that_read_settings(name: str) -> None:
    given = SECRETS | {setting: f"{setting} of the file" for setting in SETTING_NAMES}
    environment = environment_of(name, given)
    assert SETTING_NAMES - set(environment) == SET_BY_THE_IMAGE
    passed = {setting for setting in SETTING_NAMES if environment.get(setting) == given[setting]}
    assert passed == SETTING_NAMES - SET_BY_THE_IMAGE - SET_BY_COMPOSE


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_own_containers_are_confined_and_write_to_volumes_only(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["init"] is True
    assert "user" not in service, "the image's own user is not root"


@pytest.mark.parametrize("name", sorted(compose()["services"]))
def test_every_container_has_limits_and_gains_no_privileges(name: str) -> None:
    service = compose()["services"][name]
    limits = service["deploy"]["resources"]["limits"]
    assert re.fullmatch(r"[1-9]\d*[mg]", substitute(limits["memory"], {}))
    assert int(substitute(limits["cpus"], {})) > 0
    assert limits["pids"] > 0
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_replica_runs_as_many_exports_as_its_limit_has_processors() -> None:
    limits = compose()["services"]["service"]["deploy"]["resources"]["limits"]
    assert environment_of("service", SECRETS)["LOCAL_WORKERS"] == substitute(limits["cpus"], {})


def test_every_image_is_pinned_to_a_full_version_and_a_digest() -> None:
    images = {substitute(service["image"], {}) for service in compose()["services"].values()}
    assert all(re.search(r":\d+\.\d+[^@]*@sha256:[0-9a-f]{64}$", image) for image in images - {"framehook"})


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_every_variable_of_own_containers_is_a_setting(name: str) -> None:
    assert set(environment_of(name, SECRETS)) <= SETTING_NAMES | SDK_NAMES


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
    environment = image_environment() | environment_of("service", SECRETS | choices)
    settings = load_from_environment(environment, monkeypatch)
    assert settings.authenticated
    assert settings.database_url == "postgresql://framehook:f00d@database:5432/framehook"
    assert settings.modal_enabled == (choices.get("MODAL_ENABLED") == "true")
    assert (settings.r2_bucket_name or "") == choices.get("R2_BUCKET_NAME", "")


def test_users_may_be_told_apart_by_published_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: value for name, value in SECRETS.items() if name != "AUTH_JWT_SECRET"}
    given["AUTH_JWKS_URL"] = "https://id.example.com/jwks.json"
    assert load_from_environment(
        image_environment() | environment_of("service", given), monkeypatch
    ).authenticated


@pytest.mark.parametrize("missing", sorted(set(SECRETS) - {"AUTH_JWT_SECRET"}))
def test_what_has_no_default_must_be_given(missing: str) -> None:
    given = {name: value for name, value in SECRETS.items() if name != missing}
    with pytest.raises(KeyError, match=missing):
        environment_of("service", given)


def test_the_example_environment_has_every_variable_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    example = read_env_file(INFRA / "compose.env.example")
    read = set(re.findall(r"\$\{(\w+)", (INFRA / "compose.yaml").read_text()))
    assert read - set(example) == {"FRAMEHOOK_IMAGE", "STORAGE_IMAGE", "MODAL_APP_NAME", "MODAL_GPU"}
    assert set(example) - read - SETTING_NAMES == {"COMPOSE_PROFILES"}
    assert not any(value for name, value in example.items() if re.search("SECRET|PASSWORD|KEY|TOKEN", name))
    environment = image_environment() | environment_of("service", example | SECRETS)
    assert load_from_environment(environment, monkeypatch).authenticated


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
