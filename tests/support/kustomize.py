"""What `kubectl kustomize` makes of our overlays, for machines without it: resources, labels, images, patches, no more.

A field of a kustomization that is not known here is an error, so that nothing is silently left out.
"""

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

KNOWN = {"apiVersion", "kind", "resources", "labels", "images", "patches"}
KEYS = {"containers": "name", "env": "name", "ports": "containerPort", "volumeMounts": "mountPath", "volumes": "name"}
"""Lists of which a patch changes the entries of the same key (Kubernetes' patchMergeKey); others it replaces."""


def render(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization. Raises ValueError for what this cannot do, and for a patch without a target."""
    (kustomization,) = load(folder / "kustomization.yaml")
    if unknown := set(kustomization) - KNOWN:
        raise ValueError(f"{folder}: {sorted(unknown)} is not known here")
    manifests: list[Manifest] = []
    for name in kustomization["resources"]:
        path = folder / name
        manifests += render(path) if path.is_dir() else load(path)
    for entry in kustomization.get("patches", ()):
        for patch in load(folder / entry["path"]):
            manifests = _patched(manifests, patch)
    for entry in kustomization.get("labels", ()):
        for manifest in manifests:
            manifest["metadata"].setdefault("labels", {}).update(entry["pairs"])
    for entry in kustomization.get("images", ()):
        for container in _containers(manifests):
            if container["image"].partition(":")[0] == entry["name"]:
                container["image"] = f"{entry['name']}:{entry['newTag']}"
    return manifests


def load(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def _patched(manifests: list[Manifest], patch: Manifest) -> list[Manifest]:
    if _identity(patch) not in map(_identity, manifests):
        raise ValueError(f"a patch of {_identity(patch)}, which is not there")
    return [_merged(each, patch) if _identity(each) == _identity(patch) else each for each in manifests]


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def _containers(manifests: list[Manifest]) -> list[Any]:
    pods = [manifest["spec"]["template"] for manifest in manifests if "template" in manifest["spec"]]
    return [container for pod in pods for container in pod["spec"]["containers"]]


def _merged(old: Any, new: Any, key: str | None = None) -> Any:
    """A strategic merge; new entries of a list go to its front, as kustomize has it."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: _merged(old.get(name), value, KEYS.get(name)) for name, value in new.items()}
    if isinstance(old, list) and key:
        changes = {entry[key]: entry for entry in new}
        kept = [_merged(entry, changes.get(entry[key], {})) for entry in old]
        return [entry for entry in new if entry[key] not in {each[key] for each in old}] + kept
    return new
