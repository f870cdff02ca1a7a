"""Who may know whom: the arrows of the design, read from the imports."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEAVES = {
    "app.settings",
    "app.errors",
    "app.cores",
    "app.metrics",
    "app.logs",
    "app.budget",
    "app.turns",
    "app.hangup",
    "model.googlenet",
    "model.preprocess",
    "model.panel",
    "model.badge",
    "model.photo",
    "model.background",
    "model.silhouette",
    "model.tones",
    "model.checkpoint",
    "model.labels",
    "model.outliers",
    "model.exported",
}
ALLOWED = {
    # the model; nothing of app anywhere
    "model.googlenet": set(),
    "model.preprocess": set(),
    "model.panel": set(),
    "model.badge": set(),
    "model.photo": set(),
    "model.background": set(),
    "model.silhouette": set(),
    "model.tones": set(),
    "model.canvas": set(),
    "model.staged": {"model.canvas", "model.drawing"},
    "model.remake": {"model.canvas", "model.staged"},
    "model.checkpoint": set(),
    "model.labels": set(),
    "model.outliers": set(),
    "model.augment": set(),
    "model.recipe": set(),
    "model.openvino": set(),
    "model.data": set(),
    "model.plots": set(),
    "model.run": {"model.data", "model.plots"},
    "model.exported": set(),
    "model.fused": set(),
    "model.quantise": {"model.data", "model.openvino"},
    "model.export": {"model.calibrate", "model.data", "model.openvino", "model.predict", "model.quantise"},
    "model.sketches.garments": {"model.sketches.bags", "model.sketches.clothes", "model.sketches.figure"}
    | {"model.sketches.paper", "model.sketches.shoes"},
    "model.sketches.figure": set(),
    "model.sketches.bags": {"model.sketches.figure"},
    "model.sketches.clothes": {"model.sketches.figure"},
    "model.sketches.shoes": {"model.sketches.figure"},
    "model.sketches.paper": {"model.drawing", "model.sketches.figure"},
    "model.train": {
        "model.augment",
        "model.data",
        "model.finish",
        "model.predict",
        "model.recipe",
        "model.run",
        "model.sketches.garments",
    },
    "model.finish": {"model.calibrate", "model.data", "model.predict"},
    "model.ablation": {"model.data", "model.recipe", "model.run", "model.train"},
    "model.interpolate": {"model.calibrate", "model.data", "model.finish", "model.predict"},
    "model.predict": {"model.data"},
    "model.reliability": set(),
    "model.drawing": set(),
    "model.strangers": {"model.drawing"},
    "model.variants": set(),
    "model.exposure": {"model.data", "model.predict", "model.strangers", "model.variants"},
    "model.calibrate": {"model.data", "model.exposure", "model.predict", "model.reliability"},
    # its evaluation
    "model.served": {"model.export", "model.openvino", "model.predict"},
    "model.robustness": {"model.reliability", "model.remake", "model.served"},
    "model.judges": set(),
    "model.comparison": {"model.exposure", "model.predict"},
    "model.measures": {"model.comparison", "model.data", "model.exposure", "model.judges", "model.predict"}
    | {"model.reliability", "model.remake", "model.robustness", "model.served"},
    "model.card": {"model.data", "model.measures", "model.plots"},
    "model.evaluate": {"model.card", "model.data", "model.measures", "model.predict", "model.robustness"}
    | {"model.served"},
    # the service
    "app.settings": set(),
    "app.errors": set(),
    "app.cores": set(),
    "app.metrics": set(),
    "app.logs": set(),
    "app.budget": set(),
    "app.turns": set(),
    "app.hangup": set(),
    "app.effort": set(),
    "app.structure.bounds": set(),
    "app.structure.jpeg": {"app.structure.bounds"},
    "app.structure.png": {"app.structure.bounds"},
    "app.structure.small_png": set(),
    "app.structure.webp": {"app.structure.bounds"},
    "app.structure.tiff": {"app.structure.bounds"},
    "app.structure.bits": set(),
    "app.structure.coded": {"app.structure.bits", "app.structure.bounds"},
    "app.structure.heif": {"app.structure.bounds", "app.structure.coded"},
    "app.heif": {"app.structure.heif"},
    "app.foreign": set(),
    "app.unended": {"app.structure.jpeg"},
    "app.structure.files": {"app.effort", "app.structure.jpeg", "app.structure.png", "app.structure.tiff"}
    | {"app.structure.webp"},
    "app.decode": {"app.effort", "app.foreign", "app.heif", "app.structure.files", "app.structure.jpeg", "app.unended"}
    | {"app.structure.small_png"},
    "app.admission": set(),
    "app.schedule": set(),
    "app.vitals": set(),
    "app.batcher": {"app.schedule", "app.vitals"},
    "app.engine": set(),
    "app.engines.plain": {"app.engine"},
    "app.engines.buckets": {"app.engine"},
    "app.engines.cuda": {"app.engine", "app.engines.buckets", "app.engines.plain", "model.fused"},
    "app.engines.openvino": {"app.engine", "model.openvino"},
    "app.scores": {"app.engine"},
    "app.served": {"app.engine"},
    "app.upright": {"app.batcher", "app.scores"},
    "app.classifier": {"app.admission", "app.decode", "app.batcher", "app.engine", "app.scores", "app.served"}
    | {"app.upright"},
    "app.keys": {"app.engine"},
    "app.api.service": {"app.classifier", "app.engine", "app.keys"},
    "app.api.guard": {"app.api.address", "app.api.problems", "app.api.service"},
    "app.api.body": set(),
    "app.api.address": set(),
    "app.api.forms": set(),
    "app.api.documents": set(),
    "app.api.texts": {"app.decode", "app.heif"},
    "app.api.intake": {"app.api.body", "app.api.direct", "app.api.documents", "app.api.encodings", "app.api.forms"}
    | {"app.api.schemas", "app.api.service", "app.api.texts"},
    "app.api.problems": {"app.api.address"},
    "app.api.schemas": set(),
    "app.api.direct": {"app.api.schemas"},
    "app.api.short": {"app.api.address", "app.api.direct"},
    "app.api.connected": set(),
    "app.api.journal": set(),
    "app.api.observer": {"app.api.journal", "app.api.problems"},
    "app.api.door": {"app.admission", "app.api.address", "app.api.journal", "app.api.observer", "app.api.problems"},
    "app.api.documented": set(),
    "app.api.monitoring": {"app.api.documented", "app.api.service"},
    "app.api.predict": {"app.api.schemas", "app.api.intake", "app.api.direct", "app.api.problems", "app.api.service"}
    | {"app.api.connected", "app.classifier", "app.decode"},
    "app.api.explanation": {"app.api.schemas", "app.api.direct", "app.api.predict"},
    "app.api.page": set(),
    "app.api.tensors": {"app.api.documents"},
    "app.api.answers": {"app.api.tensors", "app.scores"},
    "app.api.encodings": set(),
    "app.api.statistics": set(),
    "app.api.inference_v2": {"app.api.answers", "app.api.body", "app.api.connected", "app.api.documented"}
    | {"app.api.documents", "app.api.encodings"}
    | {"app.api.service", "app.api.statistics", "app.api.tensors"},
    "app.api.health": {"app.api.schemas", "app.api.service"},
    "app.main": {
        "app.api.address",
        "app.api.documented",
        "app.api.door",
        "app.api.explanation",
        "app.api.guard",
        "app.api.journal",
        "app.api.page",
        "app.api.health",
        "app.api.inference_v2",
        "app.api.monitoring",
        "app.api.observer",
        "app.api.predict",
        "app.api.problems",
        "app.api.short",
    }
    | {"app.api.service", "app.classifier", "app.engine", "app.keys"},
    "app.corked": set(),
    "app.protocol": {"app.corked"},
    "app.port": set(),
    "app.server": {"app.port", "app.protocol"},
    "app.supervisor": {"app.server"},
    "app.start": {"app.main", "app.server", "app.supervisor"},
    "app.__main__": {"app.start"},
    # from outside
    "app.encode": set(),
    "app.failures": {"app.api.schemas"},
    "app.client": {"app.api.schemas", "app.encode", "app.failures"},
    "app.commands.files": {"app.decode"},
    "app.commands.rows": set(),
    "app.commands.settings": set(),
    "app.commands.options": set(),
    "app.commands.classify": {"app.commands.rows"},
    "app.commands.local": {"app.commands.files", "app.commands.rows", "app.decode", "app.engine", "app.scores"},
    "app.commands.remote": {"app.client", "app.commands.files", "app.commands.rows"},
    "app.commands.bench": {"app.client", "app.engine"},
    "app.commands.info": {"app.engine"},
    "app.cli": {"app.__main__", "app.client", "app.engine"}
    | {f"app.commands.{name}" for name in ("bench", "classify", "files", "info", "local", "options", "remote", "rows")},
}
LEAVES_KNOW = {
    "app.budget": {"app.errors"},
    "app.settings": {"model.checkpoint"},
    "model.checkpoint": {"model.outliers", "model.preprocess"},
    "model.exported": {"model.checkpoint"},
    "model.preprocess": {"model.badge", "model.panel", "model.photo", "model.silhouette"},
    "model.badge": {"model.background", "model.panel", "model.photo", "model.silhouette"},
    "model.panel": {"model.background", "model.photo", "model.silhouette"},
    "model.photo": {"model.background", "model.silhouette", "model.tones"},
    "model.tones": {"model.background", "model.silhouette"},
}
WITHOUT_TORCH = [
    "app.main",
    "app.client",
    "app.cli",
    "app.engines.openvino",
    "model.preprocess",
    "model.checkpoint",
    "benchmarks.ray_cluster",
]


def modules() -> dict[str, Path]:
    paths = [path for package in ("app", "model") for path in (ROOT / package).rglob("*.py")]
    names = {path: path.relative_to(ROOT).with_suffix("").parts for path in paths if path.name != "__init__.py"}
    return {".".join(parts): path for path, parts in names.items()}


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of ours that the file imports, and top-level packages of others."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in known else node.module)
    return {name if name in known else name.split(".")[0] for name in names}


def test_everybody_keeps_to_the_arrows() -> None:
    found = modules()
    assert set(found) == set(ALLOWED), "a new module takes its place in the design here"
    for name, path in found.items():
        ours = {i for i in imports(path, set(found)) if i in found}
        if name in LEAVES:
            assert ours <= LEAVES_KNOW.get(name, set()), name
        else:
            assert ours - LEAVES <= ALLOWED[name], name
        if name.startswith("model."):
            assert not any(i.startswith("app") for i in ours), name


def test_only_those_who_compute_with_it_import_torch() -> None:
    found = modules()
    touching = {name for name, path in found.items() if "torch" in imports(path, set(found))}
    assert {name for name in touching if name.startswith("app.")} == {
        "app.engines.buckets",
        "app.engines.cuda",
        "app.engines.plain",
    }


def test_the_service_loads_without_torch() -> None:
    for module in WITHOUT_TORCH:
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0, module


def test_the_client_loads_without_the_service() -> None:
    code = "import sys, app.client; sys.exit(bool({'torch', 'fastapi', 'uvicorn', 'openvino'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
