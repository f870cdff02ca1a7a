"""The `info` command: prints what a checkpoint contains."""

from typing import Any

from rich.console import Console
from rich.table import Table

from app.errors import StartError
from app.inference.engines import choose
from app.settings import Settings
from model.checkpoint import Checkpoint


def describe(checkpoint: Checkpoint, settings: Settings) -> None:
    """Prints the checkpoint's metadata, its exports, and the engine that these settings choose on this machine."""
    metadata, training = checkpoint.metadata, checkpoint.metadata.training
    exports = sorted(path.name for path in checkpoint.file.parent.glob(f"{checkpoint.file.stem}.*.json"))
    rows: list[tuple[str, object]] = [
        ("file", checkpoint.file),
        ("version", checkpoint.version),
        ("network", f"{metadata.architecture}, {metadata.input_size}×{metadata.input_size}"),
        ("parameters", f"{sum(array.size for array in checkpoint.weights.values()):,}"),
        ("classes", ", ".join(metadata.classes)),
        *((f"accuracy, {split}", f"{100 * share:.2f} %") for split, share in metadata.accuracy.items()),
        ("temperature", f"{metadata.temperature:.4f}"),
        ("trained", f"{len(training.get('history', []))} epochs, {_join(training.get('recipe', {}))}"),
        *((name.replace("_", " "), training[name]) for name in ("seed", "git_commit", "torch") if name in training),
        ("exports", ", ".join(exports) or "none: python -m model.export makes them"),
        ("engine here", _engine_here(checkpoint, settings)),
    ]
    table = Table(show_header=False, title=metadata.name)
    for name, value in rows:
        table.add_row(name, str(value))
    Console(markup=False).print(table, highlight=False)


def _join(recipe: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in recipe.items())


def _engine_here(checkpoint: Checkpoint, settings: Settings) -> str:
    try:
        engine = choose.build_engine(settings, checkpoint)
    except StartError as error:
        return f"none: {error}"
    return f"{engine.name} on {engine.device} in {engine.precision}"
