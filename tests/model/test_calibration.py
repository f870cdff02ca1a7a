"""Probabilities mean what they say: the metrics on cases worked out by hand, the temperature on a known scale."""

import numpy as np
import pytest

from model.calibrate import calibrate
from model.calibrate.reliability import fit_temperature, measure_reliability, reliability_diagram
from model.checkpoint import Checkpoint
from model.data import Dataset
from model.export.manifest import Export
from model.labels import probabilities, remove_label_smoothing, softmax
from model.predict import Outputs, load_predictor, serving_pixels


def drawn(n: int, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n,10] and labels drawn from exactly the probabilities they say."""
    rng = np.random.default_rng(1)
    logits = scale * rng.normal(size=(n, 10)).astype(np.float32)
    sums = softmax(logits.astype(np.float64)).cumsum(1)
    return logits, (rng.random((n, 1)) > sums).sum(1).clip(max=9)


def test_figures_worked_out_by_hand() -> None:
    found = measure_reliability(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), np.array([0, 1, 0, 1]))
    assert found.accuracy == 0.75
    assert found.ece == pytest.approx((2 * abs(0.9 - 0.5) + 0.4 + 0.2) / 4)
    assert found.classwise_ece == pytest.approx((2 * 0.4 + 0.4 + 0.2) / 4)  # both classes are off by the same
    assert found.nll == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.8]).mean())
    assert found.brier == pytest.approx((0.02 + 1.62 + 0.32 + 0.08) / 4)
    bins = reliability_diagram(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]), np.array([0, 1, 0]))
    assert [b for b in bins if b[0]] == [(1, 0.6, 1.0), (2, 0.9, 0.5)]


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_the_temperature_undoes_a_known_scale(scale: float) -> None:
    logits, labels = drawn(20_000)
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale, rel=0.03)
    assert measure_reliability(probabilities(scale * logits, scale, 0.0), labels).ece < 0.01


def test_pictures_without_a_mistake_make_the_network_no_surer() -> None:
    logits, _ = drawn(150)
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(1)


def test_smoothing_is_taken_out_and_the_order_stays() -> None:
    logits, labels = drawn(5_000)
    smoothed = np.log(0.95 * softmax(logits.astype(np.float64)) + 0.005)
    assert (remove_label_smoothing(smoothed, 0.05).argsort(1) == smoothed.argsort(1)).all()
    likely = softmax(logits).max(1) > 0.01
    recovered = probabilities(smoothed, 1.0, 0.05)
    assert np.abs(recovered - softmax(logits))[likely].max() < 0.002
    assert np.isfinite(remove_label_smoothing(np.array([[800.0, 0.0, -800.0]]), 0.05)).all()
    assert measure_reliability(recovered, labels).ece < measure_reliability(softmax(smoothed), labels).ece


def test_too_few_pictures_fit_nothing() -> None:
    logits, labels = drawn(calibrate.MIN_VALIDATION_PICTURES - 1)
    outputs = Outputs(logits, np.zeros((len(logits), 1024), np.float32))
    assert calibrate.fit_calibration(outputs, labels, 0.0, None) is None


def test_the_shipped_temperature_is_the_validation_pictures_own(checkpoint: Checkpoint, fashion_mnist: Dataset) -> None:
    run, half = load_predictor(checkpoint), fashion_mnist.validation[:2500]
    outputs = run(serving_pixels(half.pixels).numpy())
    metadata = checkpoint.metadata
    found = fit_temperature(remove_label_smoothing(outputs.logits, metadata.smoothing), half.labels.numpy())
    assert found == pytest.approx(metadata.temperature, rel=0.1)
    assert metadata.temperature != 1.0


def test_every_export_has_its_own(checkpoint: Checkpoint) -> None:
    found = set()
    for graph in ("openvino", "openvino-int8"):
        for name, fitted in Export.load(checkpoint, graph).precisions.items():
            assert fitted.temperature == pytest.approx(checkpoint.metadata.temperature, rel=0.1), (graph, name)
            assert fitted.threshold is not None, (graph, name)
            found.add((fitted.temperature, fitted.threshold))
    assert len(found) >= 3
