"""Writes the model card: measurements to figures.json, plots of them, and model/README.md.

card.md is the card's template. Its text is written by hand; the figures are filled in from figures.json.
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

MODEL_FOLDER = Path(__file__).parent.parent
TEMPLATE = MODEL_FOLDER / "card.md"
CARD = MODEL_FOLDER / "README.md"
FIGURES_FOLDER = MODEL_FOLDER / "figures"
FIGURES_FILE = FIGURES_FOLDER / "figures.json"

Figures = dict[str, Any]


def write(checkpoint: Checkpoint, dataset: Dataset) -> None:
    """Measures everything and writes figures, pictures and card. After an interruption it resumes."""
    figures = _unfinished_figures(checkpoint.version)
    FIGURES_FOLDER.mkdir(exist_ok=True)
    with Pool() as pool:  # first, because it forks: OpenVINO starts threads
        for name, measure in measurements.measurements(checkpoint, dataset, pool).items():
            if name not in figures:
                figures[name] = measure()
                FIGURES_FILE.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    figures["robustness"] = measurements.join_robustness(figures)
    figures["complete"] = True
    FIGURES_FILE.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    draw(figures, dataset)
    CARD.write_text(render(figures))


def _unfinished_figures(version: str) -> Figures:
    """The figures of an interrupted run for this checkpoint; without one, only the version."""
    if FIGURES_FILE.exists():
        figures: Figures = json.loads(FIGURES_FILE.read_text())
        if figures["version"] == version and "complete" not in figures:
            return figures
    return {"version": version}


def draw(figures: Figures, dataset: Dataset) -> None:
    """Draws the card's pictures."""
    calibration, outliers, classes = figures["calibration"], figures["outliers"], figures["classes"]
    plots.confusion(calibration["confusion"], classes, FIGURES_FOLDER / "confusion.png")
    plots.reliability(calibration["diagram"], FIGURES_FOLDER / "reliability.png")
    plots.hardest(calibration["hardest"], dataset.test.pixels.numpy(), classes, FIGURES_FOLDER / "hardest.png")
    plots.curves(figures["history"], FIGURES_FOLDER / "curves.png")
    limits, threshold = measurements.HISTOGRAM_LIMITS, outliers["threshold"]
    plots.outliers(outliers["histograms"], limits, threshold, FIGURES_FOLDER / "outliers.png")
    plots.robustness(figures["robustness"]["rows"], FIGURES_FOLDER / "robustness.png")


def render(figures: Figures) -> str:
    """The card's text, with the figures filled into the template."""
    calibration, outliers = figures["calibration"], figures["outliers"]
    return Template(TEMPLATE.read_text()).substitute(
        version=figures["version"][:12],
        machine=figures["machine"],
        smoothing=figures["smoothing"],
        measured_on=calibration["measured_on"],
        confusion=_confusion_text(calibration["confusion"], figures["classes"]),
        engines=_engine_table(calibration["engines"]),
        steps=_step_table(calibration["steps"]),
        evaluation_sets=_score_table(outliers["judged"]),
        families=_score_table(outliers["families"]),
        flagged=_flagged_table(outliers),
        left_out=_left_out_table(outliers["left_out"]),
        robustness=_robustness_table(figures["robustness"]["rows"]),
        n_uploads=figures["robustness"]["n"],
    )


def calibration_tables(figures: Figures) -> str:
    return "\n\n".join([_engine_table(figures["engines"]), _step_table(figures["steps"])])


def outlier_tables(figures: Figures) -> str:
    """Fractions flagged; every score on evaluation sets and families; the detector on families left out."""
    scores = [_score_table(figures[sets]) for sets in ("judged", "families")]
    return "\n\n".join([_flagged_table(figures), *scores, _left_out_table(figures["left_out"])])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _confusion_text(counts: list[list[int]], classes: list[str]) -> str:
    width = max(map(len, classes))
    lines = [" " * (width + 3) + "".join(f"{i:6d}" for i in range(len(classes))) + "   recall"]
    for i, (name, row) in enumerate(zip(classes, counts, strict=True)):
        recall = _percent(row[i] / max(1, sum(row)), 1)
        lines.append(f"{name:>{width}} {i:2d}" + "".join(f"{count:6d}" for count in row) + f"{recall:>9}")
    return "\n".join(lines)


def _reliability_cells(row: Figures) -> list[str]:
    percents = (_percent(row[key]) for key in ("accuracy", "ece", "classwise_ece"))
    return [*percents, f"{row['nll']:.4f}", f"{row['brier']:.4f}"]


def _engine_table(rows: Figures) -> str:
    head = ["engine, precision", "temperature", "on", "accuracy", "ECE", "class-wise ECE", "NLL", "Brier", "flagged"]
    return _table(
        head,
        [
            [name, f"{row['temperature']:.3f}", split, *_reliability_cells(row[split]), _percent(row[split]["flagged"])]
            for name, row in rows.items()
            for split in ("validation", "test")
        ],
    )


def _step_table(rows: Figures) -> str:
    head = ["", "on", "accuracy", "ECE", "class-wise ECE", "NLL", "Brier"]
    return _table(head, [[name, split, *_reliability_cells(row[split])] for name, row in rows.items() for split in row])


def _score_table(scores: Figures) -> str:
    """AUROC / FPR at 95 % of each score (row) on each set (column)."""
    names = list(next(iter(scores.values())))
    rows = [
        [score, *(f"{100 * sets[name]['auroc']:.2f} / {100 * sets[name]['fpr95']:.1f}" for name in names)]
        for score, sets in scores.items()
    ]
    return _table(["", *(name.replace("_", " ") for name in names)], rows)


def _flagged_table(outliers: Figures) -> str:
    rows = [[name, str(outliers["n"][name]), _percent(share, 1)] for name, share in outliers["flagged"].items()]
    return _table(["set", "n", "flagged"], rows)


def _left_out_table(rows: Figures) -> str:
    cells = [
        [name.replace("_", " "), f"{100 * row['auroc']:.2f}", _percent(row["flagged"], 1)] for name, row in rows.items()
    ]
    return _table(["family left out", "AUROC", "flagged"], cells)


def _robustness_table(rows: list[Figures]) -> str:
    clean, lines = rows[0]["auto"], []
    for row in rows:
        auto, native, flagged, misled = (_percent(row[key], 1) for key in ("auto", "native", "flagged", "misled"))
        lost = f"{100 * (clean - row['auto']):.1f}"
        lines.append([row["recipe"], auto, lost, native, _percent(row["ece"]), flagged, misled])
    return _table(["upload", "accuracy", "points lost", "by `mode=native`", "ECE", "flagged", "misled"], lines)
