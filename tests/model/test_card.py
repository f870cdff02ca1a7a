"""The model card says what was measured, of the shipped checkpoint, and what was measured is good enough."""

import json
import re

import pytest

from model.checkpoint import Checkpoint
from model.evaluate import model_card
from model.synthetic.scenes import PADDED, PLOTTED, TURNED


@pytest.fixture(scope="module")
def figures() -> dict:
    return json.loads(model_card.FIGURES_FILE.read_text())


def test_the_card_is_what_the_figures_say(figures: dict, checkpoint: Checkpoint) -> None:
    assert figures["version"] == checkpoint.version, "make report measures the shipped checkpoint anew"
    assert model_card.render(figures) == model_card.CARD.read_text()


def test_its_pictures_are_there_and_small() -> None:
    shown = re.findall(r"!\[.*?\]\((.*?)\)", model_card.CARD.read_text())
    assert len(shown) == 7
    for name in shown:
        assert 1_000 < (model_card.MODEL_FOLDER / name).stat().st_size < 100_000, name


def test_probabilities_mean_what_they_say(figures: dict) -> None:
    rows = figures["calibration"]["engines"]
    assert rows
    for name, row in rows.items():
        assert row["test"]["ece"] <= 0.01, name
    remade = figures["robustness"]["rows"]
    mild = [row for row in remade if row["auto"] >= remade[0]["auto"] - 0.03]
    assert len(mild) > 20
    assert [row["recipe"] for row in mild if row["ece"] > 0.03] == []


def test_strangers_are_flagged_and_garments_are_not(figures: dict) -> None:
    flagged = figures["outliers"]["flagged"]
    assert flagged["validation"] <= 0.05
    assert flagged["test"] <= 0.06
    for name in ("digits", "letters", "noise", "gradients", "textures", "photographs"):
        assert flagged[name] >= 0.8, name


def test_what_is_around_a_picture_costs_little(figures: dict) -> None:
    rows = {row["recipe"]: row for row in figures["robustness"]["rows"]}
    around = [name for name in {**PADDED, **PLOTTED} if "viridis" not in name]
    assert [name for name in around if rows[name]["auto"] < rows["not padded"]["auto"] - 0.03] == []
    assert [name for name in TURNED if rows[name]["misled"] > 0.02] == []
    assert [name for name in TURNED if rows[name]["auto"] < 0.83] == []


def test_the_detector_is_the_best_way_on_families_it_has_not_seen(figures: dict) -> None:
    outliers = figures["outliers"]

    def mean(rows: dict) -> float:
        return sum(row["auroc"] for row in rows.values()) / len(rows)

    others = [mean(rows) for way, rows in outliers["families"].items() if way != "detector"]
    assert mean(outliers["left_out"]) > max(others)
