"""The model card: figures measured into figures.json, pictures drawn from them, README.md written from both.

What is not a figure – how it was trained, what did not work, its limits – is kept by hand in card.md, into
which the figures are put.
"""

import json
from multiprocessing import Pool
from pathlib import Path
from string import Template
from typing import Any

from model import plots
from model.checkpoint import Checkpoint
from model.data import Dataset
from model.evaluate import measurements

HERE = Path(__file__).parent.parent
TEXT = HERE / "card.md"
CARD = HERE / "README.md"
PICTURES = HERE / "figures"
STORE = PICTURES / "figures.json"

Figures = dict[str, Any]


def write(checkpoint: Checkpoint, dataset: Dataset) -> None:
    """Measures everything and writes figures, pictures and card; a stopped run goes on with what it has not yet."""
    figures = _begun(checkpoint.version)
    PICTURES.mkdir(exist_ok=True)
    with Pool() as pool:  # before anything starts threads: it forks
        for name, measure in measurements.parts(checkpoint, dataset, pool).items():
            if name not in figures:
                figures[name] = measure()
                STORE.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    figures["robustness"] = measurements.joined(figures)
    figures["complete"] = True
    STORE.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    draw(figures, dataset)
    CARD.write_text(render(figures))


def _begun(version: str) -> Figures:
    """The figures of a run over this checkpoint that was stopped; without one, just its version."""
    if STORE.exists():
        figures: Figures = json.loads(STORE.read_text())
        if figures["version"] == version and "complete" not in figures:
            return figures
    return {"version": version}


def draw(figures: Figures, dataset: Dataset) -> None:
    """The pictures beside the card."""
    calibration, outliers, classes = figures["calibration"], figures["outliers"], figures["classes"]
    plots.confusion(calibration["confusion"], classes, PICTURES / "confusion.png")
    plots.reliability(calibration["diagram"], PICTURES / "reliability.png")
    plots.hardest(calibration["hardest"], dataset.test.pixels.numpy(), classes, PICTURES / "hardest.png")
    plots.curves(figures["history"], PICTURES / "curves.png")
    limits = measurements.HISTOGRAM[:2]
    plots.outliers(outliers["histograms"], limits, outliers["threshold"], PICTURES / "outliers.png")
    plots.robustness(figures["robustness"]["rows"], PICTURES / "robustness.png")


def render(figures: Figures) -> str:
    """The card's text with every figure in its place; the same figures give the same text."""
    calibration, outliers = figures["calibration"], figures["outliers"]
    return Template(TEXT.read_text()).substitute(
        version=figures["version"][:12],
        machine=figures["machine"],
        smoothing=figures["smoothing"],
        measured_on=calibration["measured_on"],
        confusion=_confusion(calibration["confusion"], figures["classes"]),
        engines=_engines(calibration["engines"]),
        steps=_steps(calibration["steps"]),
        judged=_ways(outliers["judged"], "auroc", "fpr95"),
        families=_ways(outliers["families"], "auroc", "fpr95"),
        flagged=_flagged(outliers),
        left_out=_left_out(outliers["left_out"]),
        robustness=_robustness(figures["robustness"]["rows"]),
        remade=figures["robustness"]["n"],
    )


def calibration_tables(figures: Figures) -> str:
    return "\n\n".join([_engines(figures["engines"]), _steps(figures["steps"])])


def outlier_tables(figures: Figures) -> str:
    """Flagged; AUROC and FPR at 95 % of every way on judged sets and families; the detector on families left out."""
    ways = [_ways(figures[sets], "auroc", "fpr95") for sets in ("judged", "families")]
    return "\n\n".join([_flagged(figures), *ways, _left_out(figures["left_out"])])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _confusion(counts: list[list[int]], classes: list[str]) -> str:
    width = max(map(len, classes))
    lines = [" " * (width + 3) + "".join(f"{i:6d}" for i in range(len(classes))) + "   recall"]
    for i, (name, row) in enumerate(zip(classes, counts, strict=True)):
        recall = _percent(row[i] / max(1, sum(row)), 1)
        lines.append(f"{name:>{width}} {i:2d}" + "".join(f"{count:6d}" for count in row) + f"{recall:>9}")
    return "\n".join(lines)


def _reliability(found: Figures) -> list[str]:
    parts = (_percent(found[key]) for key in ("accuracy", "ece", "classwise_ece"))
    return [*parts, f"{found['nll']:.4f}", f"{found['brier']:.4f}"]


def _engines(rows: Figures) -> str:
    head = ["engine, precision", "temperature", "on", "accuracy", "ECE", "class-wise ECE", "NLL", "Brier", "flagged"]
    return _table(
        head,
        [
            [name, f"{row['temperature']:.3f}", split, *_reliability(row[split]), _percent(row[split]["flagged"])]
            for name, row in rows.items()
            for split in ("validation", "test")
        ],
    )


def _steps(rows: Figures) -> str:
    head = ["", "on", "accuracy", "ECE", "class-wise ECE", "NLL", "Brier"]
    return _table(head, [[name, split, *_reliability(row[split])] for name, row in rows.items() for split in row])


def _ways(ways: Figures, first: str, second: str) -> str:
    """Per way and set two of its figures."""
    names = list(next(iter(ways.values())))
    rows = [
        [way, *(f"{100 * sets[name][first]:.2f} / {100 * sets[name][second]:.1f}" for name in names)]
        for way, sets in ways.items()
    ]
    return _table(["", *(name.replace("_", " ") for name in names)], rows)


def _flagged(outliers: Figures) -> str:
    rows = [[name, str(outliers["n"][name]), _percent(share, 1)] for name, share in outliers["flagged"].items()]
    return _table(["set", "n", "flagged"], rows)


def _left_out(rows: Figures) -> str:
    found = [
        [name.replace("_", " "), f"{100 * row['auroc']:.2f}", _percent(row["flagged"], 1)] for name, row in rows.items()
    ]
    return _table(["family left out", "AUROC", "flagged"], found)


def _robustness(rows: list[Figures]) -> str:
    clean, lines = rows[0]["auto"], []
    for row in rows:
        shares = (
            _percent(row["native"], 1),
            _percent(row["ece"]),
            _percent(row["flagged"], 1),
            _percent(row["misled"], 1),
        )
        lines.append([row["recipe"], _percent(row["auto"], 1), f"{100 * (clean - row['auto']):.1f}", *shares])
    return _table(["re-made set", "accuracy", "points lost", "by `mode=native`", "ECE", "flagged", "misled"], lines)
