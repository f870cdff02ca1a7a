"""The arrows of the design, read from the imports: which room may import which."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

ROOMS = {
    # the service; requests come in at the top, and each room imports only rooms below it
    "app.cli": {"app.__main__", "app.client", "app.inference", "app.images", "app.settings", "app.errors", "model"},
    "app.__main__": {"app.http"},
    "app.client": {"app.api", "app.errors"},
    "app.http": {"app.main", "app.inference", "app.settings", "app.asgi", "app.metrics", "app.logs", "app.errors"},
    "app.main": {
        "app.grpc",
        "app.tracing",
        "app.middleware",
        "app.api",
        "app.inference",
        "app.settings",
        "app.metrics",
        "app.errors",
        "model",
    },
    "app.grpc": {"app.middleware", "app.tracing", "app.api", "app.inference", "app.settings", "app.asgi", "app.errors"},
    "app.middleware": {"app.tracing", "app.api", "app.inference", "app.settings", "app.metrics", "app.logs", "model"}
    | {"app.asgi", "app.errors"},
    "app.tracing": {"app.inference", "app.metrics", "app.errors", "app.asgi"},
    "app.api": {"app.inference", "app.images", "app.settings", "app.asgi", "app.metrics", "app.errors", "model"},
    "app.inference": {"app.images", "app.settings", "app.metrics", "app.errors", "model"},
    "app.images": {"app.errors", "model"},
    "app.settings": {"app.errors", "model"},
    "app.asgi": set(),
    "app.metrics": set(),
    "app.logs": set(),
    "app.errors": set(),
    # the model, which knows nothing of the service
    "model.train": {"model.calibrate", "model.synthetic", "model.predict", "model.data", "model.plots"}
    | {"model.checkpoint", "model.googlenet"},
    "model.evaluate": {
        "model.export",
        "model.calibrate",
        "model.synthetic",
        "model.predict",
        "model.data",
        "model.plots",
    }
    | {"model.checkpoint", "model.labels", "model.ood_detector", "model.preprocess"},
    "model.export": {"model.calibrate", "model.predict", "model.data", "model.checkpoint", "model.labels"}
    | {"model.googlenet", "model.preprocess"},
    "model.calibrate": {"model.synthetic", "model.predict", "model.data", "model.checkpoint", "model.labels"}
    | {"model.ood_detector"},
    "model.predict": {"model.data", "model.checkpoint", "model.googlenet", "model.preprocess"},
    "model.synthetic": {"model.preprocess"},
    "model.data": {"model.preprocess"},
    "model.checkpoint": {"model.ood_detector", "model.preprocess"},
    "model.fused_googlenet": {"model.googlenet"},
    "model.googlenet": set(),
    "model.preprocess": set(),
    "model.ood_detector": set(),
    "model.labels": set(),
    "model.plots": set(),
}
"""Each room, a package or a module of app or model, and the rooms that it may import; `model` is any of the model's."""

SERVING = {"model.checkpoint", "model.export", "model.fused_googlenet", "model.googlenet", "model.labels"}
SERVING |= {"model.ood_detector", "model.preprocess"}
"""The rooms of the model that the service may import: what it serves, and nothing that trains or measures."""

WITH_TORCH = {"app.inference.engines.batch_buckets", "app.inference.engines.cuda", "app.inference.engines.pytorch"}
"""The modules of the service that import torch."""

WITHOUT_TORCH = ["app.main", "app.client", "app.cli.commands", "app.inference.engines.openvino", "model.preprocess"]
WITHOUT_TORCH += ["model.checkpoint", "benchmarks.fleets"]

MOST_LINES, MOST_FILES = 300, 12
"""Of a file, and in a directory."""


def modules() -> dict[str, Path]:
    paths = [path for package in ("app", "model") for path in (ROOT / package).rglob("*.py")]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of ours that the file imports, and packages of others."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & known) or {node.module}
    return {name if name in known else name.split(".")[0] for name in found}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_rooms_import_only_the_rooms_that_they_may() -> None:
    found = modules()
    assert {room(name) for name in found} - {"app", "model"} == set(ROOMS), "a new room takes its place in the design"
    for name, path in found.items():
        ours = {room(other) for other in imports(path, set(found)) if other in found}
        for other in ours - {room(name)}:
            allowed = ROOMS.get(room(name), set())
            serving = "model" in allowed and other in SERVING
            assert other in allowed or serving, f"{name} imports {other}"


def test_the_rooms_have_no_cycle() -> None:
    below = {
        name: (allowed - {"model"}) | (SERVING if "model" in allowed else set()) for name, allowed in ROOMS.items()
    }
    while below:
        lowest = {name for name, others in below.items() if not others & set(below)}
        assert lowest, f"a cycle among {sorted(below)}"
        below = {name: others for name, others in below.items() if name not in lowest}


def test_a_file_is_one_thought_and_a_directory_fits_the_eye() -> None:
    found = modules()
    assert [name for name, path in found.items() if path.read_text().count("\n") > MOST_LINES] == []
    folders = {path.parent for path in found.values()}
    assert [str(folder) for folder in folders if len(list(folder.glob("*.py"))) > MOST_FILES] == []


def test_only_the_engines_that_compute_with_torch_import_it() -> None:
    found = modules()
    touching = {name for name, path in found.items() if "torch" in imports(path, set(found))}
    assert {name for name in touching if name.startswith("app.")} == WITH_TORCH


def test_the_service_loads_without_torch() -> None:
    for module in WITHOUT_TORCH:
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0, module


def test_the_client_loads_without_the_service() -> None:
    code = "import sys, app.client; sys.exit(bool({'torch', 'fastapi', 'uvicorn', 'openvino'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
