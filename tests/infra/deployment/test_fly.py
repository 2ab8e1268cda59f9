"""Fly: the same image, asked after, with settings and no secrets."""

import re

from tests.infra.deployment.deployment_files import INFRA, KNOWN, fly, image_environment


def test_fly_builds_the_same_image_and_asks_after_it() -> None:
    found = fly()
    assert {(INFRA / found["build"][name]).exists() for name in ("dockerfile", "ignorefile")} == {True}
    assert str(found["http_service"]["internal_port"]) == image_environment()["PORT"]
    assert found["http_service"]["auto_stop_machines"] == "off"
    assert [check["path"] for check in found["http_service"]["checks"]] == ["/healthz"]
    assert found["checks"]["ready"]["path"] == "/readyz"
    assert set(found["env"]) <= KNOWN
    assert not any(re.search("SECRET|KEY", name) for name in found["env"])
