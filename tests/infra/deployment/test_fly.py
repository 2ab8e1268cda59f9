"""fly.toml builds the same image, checks its health, and sets settings but no secrets."""

import re

from tests.infra.deployment.deployment_files import INFRA, SETTING_NAMES, fly, image_environment


def test_fly_scrapes_a_port_that_its_proxy_does_not_know() -> None:
    config = fly()
    assert config["metrics"] == {"port": int(config["env"]["METRICS_PORT"]), "path": "/metrics"}
    assert config["metrics"]["port"] != config["http_service"]["internal_port"]
    assert "services" not in config


def test_fly_builds_the_image_and_checks_its_health() -> None:
    config = fly()
    assert {(INFRA / config["build"][name]).exists() for name in ("dockerfile", "ignorefile")} == {True}
    assert str(config["http_service"]["internal_port"]) == image_environment()["PORT"]
    assert config["http_service"]["auto_stop_machines"] == "off"
    assert [check["path"] for check in config["http_service"]["checks"]] == ["/healthz"]
    assert config["checks"]["ready"]["path"] == "/readyz"
    assert set(config["env"]) <= SETTING_NAMES
    assert not any(re.search("SECRET|KEY", name) for name in config["env"])
