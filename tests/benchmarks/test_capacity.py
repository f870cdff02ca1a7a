"""The queue behind docs/scaling.md is the one that theory knows, and its figures are the file's."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import capacity
from benchmarks.queueing import Replica

ROOT = Path(__file__).parents[2]
GROWING = Replica(batch_seconds=0.002, picture_seconds=0.001, largest_batch=16)


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
def test_one_at_a_time_it_is_the_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: the mean wait is ρ·s / (2·(1 − ρ))."""
    second = 0.010
    replica = Replica(batch_seconds=0.0, picture_seconds=second, largest_batch=1)
    mean = float(np.mean(replica.latencies(load / second)))
    assert mean == pytest.approx(second + load * second / (2 * (1 - load)), rel=0.1)


def test_alone_nobody_waits() -> None:
    latencies = GROWING.latencies(0.01)
    assert np.quantile(latencies, (0, 0.99)) == pytest.approx(0.003)  # two in 30,000 do meet


def test_at_capacity_all_batches_are_full() -> None:
    assert GROWING.capacity == pytest.approx(16 / 0.018)
    assert np.median(GROWING.latencies(2 * GROWING.capacity)) > 100 * np.median(GROWING.latencies(GROWING.capacity / 2))


def test_it_is_fitted_to_what_was_measured() -> None:
    replica = Replica.from_measurements(alone=0.003, full_rate=600.0, largest_batch=16)
    assert replica.batch_seconds + replica.picture_seconds == pytest.approx(0.003)
    assert replica.capacity == pytest.approx(600.0)


def test_a_limit_is_kept_up_to_the_rate_and_broken_beyond() -> None:
    rate = GROWING.sustained_rate(0.020)
    assert 0 < rate < GROWING.capacity
    assert np.quantile(GROWING.latencies(rate), 0.99) <= 0.020 < np.quantile(GROWING.latencies(1.05 * rate), 0.99)
    assert GROWING.sustained_rate(0.0029) == 0.0


def test_the_document_has_the_files_tables() -> None:
    results = json.loads(capacity.RESULTS.read_text())
    text = (ROOT / "docs" / "scaling.md").read_text()
    assert capacity.costs_table(results) in text
    model = capacity.fit_replica(results)
    assert capacity.check_table(results, model) in text
    assert capacity.replicas_table(model, capacity.RATES, capacity.LIMITS) in text
    for rate in (1000.0, 100_000.0):
        assert capacity.example_table(results, rate) in text
