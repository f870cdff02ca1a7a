"""Dockerfile, its requirements and docker-compose.yml say what is so, as far as that can be seen without building."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.settings import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIRED = PROJECT["dependencies"] + EXTRAS["heif"] + EXTRAS["tracing"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def pins(name: str) -> dict[str, str]:
    """Name → version of each line."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(package): pinned for package, _, pinned in (line.partition("==") for line in lines)}


def needed(requirements: list[str], extras: frozenset[str] = frozenset()) -> set[str]:
    """Names of these packages and of all that they need."""
    names: set[str] = set()
    for requirement in map(Requirement, requirements):
        environments = [{"extra": extra} for extra in extras | {""}]
        if requirement.marker is None or any(requirement.marker.evaluate(given) for given in environments):
            names.add(canonicalize_name(requirement.name))
            names |= needed(requires(requirement.name) or [], frozenset(requirement.extras))
    return names


def test_the_cpu_image_gets_what_the_project_needs_and_no_more() -> None:
    listed, constraints = pins("requirements-cpu.txt"), pins("constraints.txt")
    assert set(listed) == needed(REQUIRED)
    assert listed == {name: constraints[name] for name in listed}
    for requirement in map(Requirement, REQUIRED):
        assert requirement.specifier.contains(listed[canonicalize_name(requirement.name)])
    assert not {name for name in listed if "torch" in name or "nvidia" in name}


def test_the_service_is_ready_where_there_is_no_torch(tmp_path: Path) -> None:
    """Every package that the list lacks is hidden; the engine that is chosen is one that computes."""
    (tmp_path / "hide.py").write_text(
        "import sys\n"
        "for name in ('torch', 'torchvision', 'nncf', 'scipy', 'sklearn', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import app.http.serve\n"
        "from app.inference.engines import choose\n"
        "from app.settings import Settings\n"
        "from model.checkpoint import Checkpoint\n"
        "settings = Settings(device='cpu')\n"
        "print(choose.build_engine(settings, Checkpoint.load(settings.checkpoint)).name)\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "hide.py"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("openvino"), done.stderr


def test_pins_are_what_is_installed() -> None:
    """Else the tests run with other packages than the images."""
    assert {name: version(name) for name in pins("requirements-cpu.txt")} == pins("requirements-cpu.txt")


def test_compose_keeps_to_the_specification(tmp_path: Path) -> None:
    assert check_compose(ROOT / "docker-compose.yml") == ""
    wrong = tmp_path / "wrong.yml"
    wrong.write_text((ROOT / "docker-compose.yml").read_text().replace("read_only:", "readonly:"))
    assert "readonly" in check_compose(wrong)


def check_compose(file: Path) -> str:
    """What is wrong with it by the specification's schema, which check-jsonschema carries."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode == 0) == ("ok --" in done.stdout), done.stderr
    return "" if done.returncode == 0 else done.stdout


@pytest.mark.parametrize("name", ["gpu", "cpu"])
def test_compose_builds_and_runs_each_image_safely(name: str) -> None:
    service = COMPOSE["services"][name]
    assert re.search(rf"^FROM runtime AS {service['build']['target']}$", DOCKERFILE, re.MULTILINE)
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert f"GOOGLENET_PORT={service['ports'][0].rpartition(':')[2]}" in DOCKERFILE
    assert int(service["stop_grace_period"].removesuffix("s")) > Settings().drain_limit
    assert set(service.get("environment", {})) <= {f"GOOGLENET_{field.upper()}" for field in Settings.model_fields}


def test_the_gpu_is_the_default() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "profiles" not in service] == ["gpu"]
    assert re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.MULTILINE)[-1] == "gpu"


def test_what_is_mounted_is_there() -> None:
    for service in COMPOSE["services"].values():
        for source, _, _ in (volume.partition(":") for volume in service.get("volumes", [])):
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source


def test_grafana_finds_its_data_and_its_dashboard() -> None:
    grafana = ROOT / "deploy" / "grafana"
    (source,) = yaml.safe_load((grafana / "datasource.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((grafana / "provider.yml").read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert any(path.startswith(provider["options"]["path"] + "/") and path.endswith(".json") for path in mounted)
    panels = json.loads((grafana / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    (scraped,) = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert set(scraped["dns_sd_configs"][0]["names"]) <= set(COMPOSE["services"])


def test_everything_that_is_copied_into_the_images_may_be() -> None:
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    copied = [
        line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY") and "--from" not in line
    ]
    assert {name for names in copied for name in names} == allowed
