"""The Kubernetes manifests are valid, refer to what exists, and give the service all of its settings."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from infra.database.base import Database
from service.api.routes import ROUTES
from service.clock import Clock
from service.metrics.database_figures import Backlog, DatabaseFigures
from tests.infra.deployment.deployment_files import (
    INFRA,
    SECRET,
    SETTING_NAMES,
    image_environment,
    instruction,
    load_from_environment,
    read_env_file,
)

FOLDER = INFRA / "kubernetes"
VERSION = "1.32"
Manifest = dict[str, Any]


def read_manifest(path: Path) -> Manifest:
    manifest: Manifest = yaml.safe_load(path.read_text())
    return manifest


def kustomization() -> Manifest:
    return read_manifest(FOLDER / "kustomization.yaml")


def autoscaling() -> Manifest:
    return read_manifest(FOLDER / "autoscaling" / "kustomization.yaml")


RESOURCES = [FOLDER / name for name in kustomization()["resources"]]
RESOURCES += [FOLDER / "autoscaling" / name for name in autoscaling()["resources"]]


def pod() -> Manifest:
    spec: Manifest = read_manifest(FOLDER / "deployment.yaml")["spec"]["template"]["spec"]
    return spec


def containers() -> list[Manifest]:
    return [*pod()["initContainers"], *pod()["containers"]]


def service_container() -> Manifest:
    (container,) = pod()["containers"]
    assert isinstance(container, dict)
    return container


def with_labels(manifest: Manifest) -> Manifest:
    """Add what the kustomization adds to a Deployment: labels and the selector of its pods."""
    (entry,) = kustomization()["labels"]
    if manifest["kind"] == "Deployment":
        manifest["spec"]["selector"] = {"matchLabels": entry["pairs"]}
        manifest["spec"]["template"].setdefault("metadata", {})["labels"] = entry["pairs"]
    return manifest


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.name)
def test_a_manifest_is_what_kubernetes_accepts(path: Path) -> None:
    kubernetes_validate.validate(with_labels(read_manifest(path)), VERSION, strict=True)


def test_every_manifest_is_a_resource_of_a_kustomization() -> None:
    others = {FOLDER / "kustomization.yaml", FOLDER / "autoscaling" / "kustomization.yaml"}
    others.add(FOLDER / "autoscaling" / "prometheus-adapter.yaml")  # values of a chart
    assert set(FOLDER.rglob("*.yaml")) == set(RESOURCES) | others


def test_every_selector_selects_the_pods() -> None:
    (entry,) = kustomization()["labels"]
    assert entry["includeSelectors"] is True
    (spread,) = pod()["topologySpreadConstraints"]
    selectors = [
        spread["labelSelector"],
        read_manifest(FOLDER / "disruption.yaml")["spec"]["selector"],
        read_manifest(FOLDER / "network.yaml")["spec"]["podSelector"],
    ]
    assert selectors == [{"matchLabels": entry["pairs"]}] * 3


def test_settings_come_from_the_generated_maps_alone() -> None:
    generators = [
        {"configMapRef": {"name": entry["name"]}} for entry in kustomization()["configMapGenerator"]
    ] + [{"secretRef": {"name": entry["name"]}} for entry in kustomization()["secretGenerator"]]
    assert [container["envFrom"] for container in containers()] == [generators] * 2
    assert {entry["name"] for entry in service_container()["env"]} <= SETTING_NAMES


def test_the_service_accepts_the_settings_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = read_env_file(FOLDER / "secrets.env.example")
    assert not any(secrets.values())
    settings = read_env_file(FOLDER / "settings.env")
    assert not any(re.search("SECRET|TOKEN|KEY|PASSWORD", name) for name in settings)
    assert set(secrets) | set(settings) <= SETTING_NAMES
    filled_in = dict.fromkeys(secrets, SECRET) | {"DATABASE_URL": "postgresql://db.example.com/framehook"}
    environment = image_environment() | settings | filled_in | {"METRICS_PORT": "9464", "LOCAL_WORKERS": "2"}
    loaded = load_from_environment(environment, monkeypatch)
    assert loaded.authenticated
    assert loaded.modal_enabled


@pytest.mark.parametrize("container", containers(), ids=lambda container: container["name"])
def test_a_container_is_confined_and_limited(container: Manifest) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert sorted(mounts.values()) == [image_environment()["DATA_DIR"], "/tmp"]  # noqa: S108
    assert set(mounts) == {volume["name"] for volume in pod()["volumes"]}


def test_pods_run_as_the_user_of_the_image() -> None:
    security = pod()["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == instruction("USER")
    assert security["runAsNonRoot"] is True
    assert security["fsGroup"] == security["runAsGroup"]


def test_probes_ask_routes_that_exist_on_the_port_of_the_service() -> None:
    container = service_container()
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")
    }
    assert paths == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz?exclude=runner&exclude=storage",
    }
    routes = {getattr(route, "path", "") for route in ROUTES}
    assert {path.partition("?")[0] for path in paths.values()} <= routes
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": int(image_environment()["PORT"]), "metrics": 9464}


def test_the_metrics_are_scraped_from_pods_and_are_no_part_of_the_service() -> None:
    template = read_manifest(FOLDER / "deployment.yaml")["spec"]["template"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "9464"
    assert [port["targetPort"] for port in read_manifest(FOLDER / "service.yaml")["spec"]["ports"]] == [
        "http"
    ]
    rules = read_manifest(FOLDER / "network.yaml")["spec"]["ingress"]
    assert [rule for rule in rules if "from" not in rule] == [{"ports": [{"port": "http"}]}]


def test_the_grace_period_covers_the_pause_and_a_shutdown() -> None:
    pause = int(service_container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod()["terminationGracePeriodSeconds"] >= pause + 30


async def test_replicas_are_added_by_a_metric_that_the_service_exports(database: Database) -> None:
    scaler = read_manifest(FOLDER / "autoscaling" / "autoscaler.yaml")["spec"]
    deployment = read_manifest(FOLDER / "deployment.yaml")
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (metric,) = scaler["metrics"]
    (rule,) = read_manifest(FOLDER / "autoscaling" / "prometheus-adapter.yaml")["rules"]["external"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    assert metric["external"]["target"]["averageValue"] == service_container()["resources"]["limits"]["cpu"]

    async def read_no_backlog(_session: object, _now: float) -> Backlog:
        return Backlog(0, 0, None)

    figures = DatabaseFigures(database, Clock(), read_no_backlog, [("framing", "local")])
    await figures.refresh()
    series = rule["seriesQuery"].partition("{")[0]
    (exported,) = [family for family in figures.collect() if family.name == series]
    states = {sample.labels["state"] for sample in exported.samples}
    assert states > set(re.findall(r'state=~"([^"]+)"', rule["metricsQuery"])[0].split("|"))


def test_the_autoscaler_leaves_no_number_of_replicas_in_the_deployment() -> None:
    (patch,) = autoscaling()["patches"]
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]
    assert "replicas" in read_manifest(FOLDER / "deployment.yaml")["spec"]
    assert read_manifest(FOLDER / "autoscaling" / "autoscaler.yaml")["spec"]["minReplicas"] >= 2
