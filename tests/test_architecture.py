"""Who may know whom: the arrows of the design, read from the imports."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEAVES = {"app.settings", "app.errors", "app.cores"}
ALLOWED = {
    "app.decode": set(),
    "app.batcher": set(),
    "app.engine": set(),
    "app.engines.plain": {"app.engine"},
    "app.classifier": {"app.decode", "app.batcher", "app.engine"},
    "app.api.service": {"app.classifier"},
    "app.api.body": set(),
    "app.api.problems": set(),
    "app.api.schemas": set(),
    "app.api.predict": {"app.api", "app.api.body", "app.api.problems", "app.api.service", "app.classifier"},
    "app.api.health": {"app.api", "app.api.service"},
    "app.main": {"app", "app.api", "app.api.service", "app.classifier", "app.engine"},
    "app.__main__": {"app.main"},
    "app.settings": set(),
    "app.errors": set(),
    "app.cores": set(),
}
WITHOUT_TORCH = ["app.main", "model.preprocess", "model.checkpoint"]


def imports(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def modules(package: str) -> dict[str, Path]:
    paths = (ROOT / package).rglob("*.py")
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths if path.name != "__init__.py"
    }


def test_the_model_knows_nothing_of_the_service() -> None:
    knowing = {name for name, path in modules("model").items() if any(i.split(".")[0] == "app" for i in imports(path))}
    assert knowing == set()


def test_the_service_keeps_to_its_arrows() -> None:
    found = modules("app")
    assert set(found) == set(ALLOWED), "a new module takes its place in the design here"
    for name, path in found.items():
        inside = {i for i in imports(path) if i.split(".")[0] == "app"}
        assert inside - LEAVES <= ALLOWED[name], name


def test_only_engines_import_torch() -> None:
    touching = {name for name, path in modules("app").items() if any(i.split(".")[0] == "torch" for i in imports(path))}
    assert touching == {"app.engines.plain"}


def test_the_service_loads_without_torch() -> None:
    for module in WITHOUT_TORCH:
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0, module
