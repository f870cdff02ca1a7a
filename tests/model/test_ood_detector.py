"""Strangers score higher than garments, and the threshold keeps what it says."""

import numpy as np
import pytest

from model.calibrate import detector_training
from model.checkpoint import Checkpoint
from model.data import Dataset
from model.evaluate import outlier_sets
from model.evaluate.detector_comparison import auroc
from model.ood_detector import KEPT_SHARE, TURN_ACCEPTED_BELOW, TURN_CONFIDENCE, best_turn, energy, threshold
from model.predict import Outputs, load_predictor, preprocess_all, serving_pixels
from model.synthetic import outliers, variants


@pytest.mark.parametrize("n", [1, 7, 100, 5000])
def test_the_threshold_keeps_95_percent(n: int) -> None:
    scores = np.random.default_rng(0).normal(size=n).astype(np.float32)
    assert (scores <= threshold(scores)).mean() >= KEPT_SHARE >= 0.95
    assert (scores < threshold(scores)).mean() < KEPT_SHARE  # and no more than it has to


def test_energy_of_large_logits_is_finite() -> None:
    assert energy(np.array([[1000.0, 0.0], [0.0, 0.0]], np.float32)) == pytest.approx([-1000.0, -np.log(2)])


def test_the_turn_that_is_answered() -> None:
    clear, unclear = -TURN_ACCEPTED_BELOW - 0.5, -TURN_ACCEPTED_BELOW + 0.5
    excess = np.array(
        [
            [5, clear, clear - 1, 5],  # the lower score of two
            [5, 5, 5, clear],  # accepted, but with a low probability
            [5, 5, unclear, 5],  # not accepted
        ],
        np.float32,
    ).T
    confidence = np.full_like(excess, TURN_CONFIDENCE)
    confidence[3, 1] -= 0.01
    turn, out_of_distribution = best_turn(excess, confidence)
    assert turn.tolist() == [2, 3, 0]
    assert out_of_distribution.tolist() == [False, True, True]


def test_auroc_by_hand() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1
    assert auroc(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == pytest.approx((1 + 0 + 1 + 0.5) / 4)


def test_a_fitted_detector_separates_and_repeats() -> None:
    rng = np.random.default_rng(0)
    known, strange = (
        Outputs(rng.normal(size=(600, 10)).astype(np.float32), rng.normal(m, 1, (600, 1024)).astype(np.float32))
        for m in (0.0, 0.3)
    )
    first, second = (detector_training.fit_detector(known, [strange]) for _ in range(2))
    assert auroc(first.score(*known), first.score(*strange)) > 0.99
    assert all(np.array_equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))
    assert first.score(*known).dtype == np.float32


@pytest.mark.parametrize("family", outliers.FAMILIES)
def test_strangers_are_pictures_and_repeat(family: str) -> None:
    garments = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    first, second = (outliers.draw(family, 12, garments, seed=3) for _ in range(2))
    assert [image.tobytes() for image in first] == [image.tobytes() for image in second]
    assert len({image.tobytes() for image in first}) == 12
    assert {image.mode for image in first} == {"L"}
    assert preprocess_all(first).shape == (12, 96, 96)


def test_varied_garments_are_as_many_and_differ() -> None:
    garments = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    assert preprocess_all(variants.make_variants(garments, 0)).shape == (10, 96, 96)


def test_the_shipped_detector_tells_garments_from_drawn_strangers(
    checkpoint: Checkpoint, fashion_mnist: Dataset
) -> None:
    run, detector = load_predictor(checkpoint), checkpoint.detector
    assert detector is not None
    limit = checkpoint.metadata.threshold
    assert limit is not None
    garments = detector.score(*run(serving_pixels(fashion_mnist.validation[:300].pixels).numpy()))
    assert (garments > limit).mean() < 0.09
    for family in ("strokes", "surfaces"):
        strange = outliers.draw(family, 60, fashion_mnist.train.pixels.numpy(), seed=9)
        assert (detector.score(*run(preprocess_all(strange))) > limit).mean() >= 0.9, family


def test_the_judged_sets_are_what_they_say() -> None:
    counts = {name: sum(1 for _ in draw()) for name, draw in outlier_sets.SETS.items()}
    assert counts == {
        "digits": 1797,
        "letters": 1040,
        "noise": 900,
        "gradients": 400,
        "textures": 300,
        "photographs": 390,
    }
