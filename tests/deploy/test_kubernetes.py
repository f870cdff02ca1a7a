"""The manifests are valid, say what the service does, and fit its drain; where kubectl is, it renders the same."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from conftest import run_server
from kubernetes_validate import ValidationError, latest_version, validate
from support.kustomize import Manifest, load, render

from app.settings import Settings

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu")
OLDEST = "1.30"
"""preStop's sleep came with it."""


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def manifests(overlay: str) -> dict[str, Manifest]:
    """An overlay's manifests, by kind."""
    rendered = render(ROOT / "overlays" / overlay)
    assert len(rendered) == len({manifest["kind"] for manifest in rendered})
    return {manifest["kind"]: manifest for manifest in rendered}


@pytest.fixture
def pod(manifests: dict[str, Manifest]) -> Any:
    return manifests["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod: Any) -> Any:
    (container,) = pod["containers"]
    return container


def environment(container: Any) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def kustomize_of_kubectl() -> bool:
    if shutil.which("kubectl") is None:
        return False
    said = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True).stdout
    return str(json.loads(said or "{}").get("kustomizeVersion", "")).startswith("v5")


def test_every_file_is_used() -> None:
    for kustomization in ROOT.rglob("kustomization.yaml"):
        (used,) = load(kustomization)
        named = {*used["resources"], *(patch["path"] for patch in used.get("patches", ()))}
        there = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert there == {name for name in named if name.endswith(".yaml")}


@pytest.mark.parametrize("version", [OLDEST, latest_version()])
def test_every_manifest_is_valid(manifests: dict[str, Manifest], version: str) -> None:
    assert set(manifests) == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    for manifest in manifests.values():
        validate(manifest, version, strict=True)


def test_a_misspelt_field_is_no_manifest(manifests: dict[str, Manifest], pod: Any) -> None:
    pod["terminationGracePeriod"] = 30
    with pytest.raises(ValidationError, match="terminationGracePeriod"):
        validate(manifests["Deployment"], OLDEST, strict=True)


def test_kubectl_renders_the_same(overlay: str, manifests: dict[str, Manifest]) -> None:
    if not kustomize_of_kubectl():
        pytest.skip("no kubectl with kustomize 5 here, which no distribution packages yet: seen is what render() makes")
    command = ["kubectl", "kustomize", str(ROOT / "overlays" / overlay)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert {manifest["kind"]: manifest for manifest in yaml.safe_load_all(output)} == manifests


def test_a_patch_without_a_target_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path, dirs_exist_ok=True)
    patch = tmp_path / "overlays" / "cpu" / "deployment.yaml"
    patch.write_text(patch.read_text().replace("name: fashion-googlenet", "name: another"))
    with pytest.raises(ValueError, match="another"):
        render(patch.parent)


def test_who_selects_the_pods_selects_them(manifests: dict[str, Manifest]) -> None:
    deployment = manifests["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    selectors = [deployment["spec"]["selector"], manifests["PodDisruptionBudget"]["spec"]["selector"]]
    for selector in [*selectors, *(each["labelSelector"] for each in spread)]:
        assert selector["matchLabels"].items() <= labels
    assert manifests["Service"]["spec"]["selector"].items() <= labels
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["apiVersion"], target["kind"]) == (deployment["apiVersion"], deployment["kind"])
    assert target["name"] == deployment["metadata"]["name"]


def test_the_autoscaler_has_its_say(manifests: dict[str, Manifest], container: Any) -> None:
    """A share of what is requested can only be told where something is, and the Deployment leaves the number to it."""
    assert "replicas" not in manifests["Deployment"]["spec"]
    (metric,) = manifests["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["resource"]["name"] in container["resources"]["requests"]
    allowed = manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert manifests["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > allowed


def test_the_grace_is_long_enough_for_the_drain(pod: Any, container: Any) -> None:
    drain = {name: float(environment(container)[f"GOOGLENET_DRAIN_{name}"]) for name in ("DELAY", "LIMIT")}
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + drain["DELAY"] + drain["LIMIT"]


def test_what_is_set_are_settings(container: Any, overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [entry["name"] for entry in container["env"] if entry["name"] != "HOME"]
    assert set(names) <= {f"GOOGLENET_{name.upper()}" for name in Settings.model_fields}
    assert len(names) == len(set(names))
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.device == {"cpu": "cpu", "gpu": "cuda"}[overlay]
    (port,) = container["ports"]
    assert (settings.host, settings.port) == ("0.0.0.0", port["containerPort"])  # noqa: S104
    assert settings.api_key is None


def test_a_service_called_googlenet_sets_nothing(pod: Any) -> None:
    assert pod["enableServiceLinks"] is False


def test_nothing_is_allowed_that_is_not_needed(pod: Any, container: Any) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0  # a name in the image would not do: the kubelet cannot look it up
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp"}  # noqa: S108


def test_a_card_is_asked_for_where_one_is_needed(container: Any, overlay: str) -> None:
    assert container["resources"]["limits"].get("nvidia.com/gpu") == {"cpu": None, "gpu": "1"}[overlay]
    assert container["image"] == f"fashion-googlenet:{overlay}"
    for name in ("cpu", "memory"):
        assert container["resources"]["requests"][name] == container["resources"]["limits"][name]


@pytest.mark.parametrize("overlay", ["cpu"], indirect=True)
def test_the_service_starts_so_and_answers_its_probes(container: Any) -> None:
    assert [*container["command"], *container["args"]] == ["python3", "-m", "app"]  # which is what run_server starts
    port = container["ports"][0]["name"]
    with run_server(**environment(container) | {"GOOGLENET_PORT": "0"}) as server:
        url = re.sub(r"0\.0\.0\.0", "127.0.0.1", server.url)
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[kind]["httpGet"]
            assert probe["port"] == port
            assert httpx.get(url + probe["path"], timeout=60).status_code == 200, kind


def test_liveness_is_more_patient_than_readiness(container: Any) -> None:
    """A restart is the last resort: traffic is taken away first, and a start is given its time."""
    until = {
        kind: container[kind]["periodSeconds"] * container[kind]["failureThreshold"]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert until["readinessProbe"] < until["livenessProbe"] < until["startupProbe"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
