"""The Prometheus metrics of the service.

With several workers, each writes its metrics to files in the directory PROMETHEUS_MULTIPROC_DIR, and the worker that
answers /metrics adds them up (prometheus_client's multiprocess mode). A single process also shows its memory, CPU time
and open files as `process_…`. Workers do not: they share memory pages, so a sum would be wrong.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.openmetrics import exposition as openmetrics

DURATION_BUCKETS = tuple(0.0005 * 2**i for i in range(15))
"""Seconds, from 0.5 ms to 8 s."""

BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONFIDENCE_BUCKETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)

DROP_REASONS = ("rejected", "expired", "abandoned", "failed")
"""Queue full, deadline passed, client gone, engine failed."""

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """One for each application, with its own registry."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.exemplar: Callable[[], dict[str, str] | None] | None = None
        """Gives the labels of the current request's trace, for histograms. app.tracing sets it."""
        ProcessCollector(registry=self._registry)
        counter = partial(Counter, namespace="googlenet", registry=self._registry)
        histogram = partial(Histogram, namespace="googlenet", registry=self._registry)
        gauge = partial(Gauge, namespace="googlenet", registry=self._registry, multiprocess_mode="livesum")

        self._requests: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        labels = ["route", "status"]
        self._request_count = counter("http_requests", "Requests answered.", labels)
        text = "Time from a request's headers to the end of its response."
        self._request_time = histogram("http_request_duration_seconds", text, labels, buckets=DURATION_BUCKETS)
        self._prediction_count = counter("predictions", "Answers by class.", ["label"])
        self._predictions: dict[str, Counter] = {}
        """By class: looking a label up for each picture would cost more."""
        text = "Probability of the class that was answered."
        self._confidence = histogram("prediction_confidence_ratio", text, buckets=CONFIDENCE_BUCKETS)
        self._out_of_distribution = counter("out_of_distribution", "Answers flagged as no garment.")
        drop_count = counter("pictures_dropped", "Pictures without an answer.", ["reason"])
        self._dropped = {reason: drop_count.labels(reason) for reason in DROP_REASONS}

        text = "Time to decode and preprocess one picture."
        self._decode_time = histogram("decode_duration_seconds", text, buckets=DURATION_BUCKETS)
        text = "Time that one picture waited for the engine."
        self._queue_time = histogram("queue_duration_seconds", text, buckets=DURATION_BUCKETS)
        text = "The engine's time for one batch."
        self._inference_time = histogram("inference_duration_seconds", text, buckets=DURATION_BUCKETS)
        self._batch_size = histogram("batch_pictures", "Pictures in one batch.", buckets=BATCH_SIZE_BUCKETS)
        text = "Batches that were halved because device memory was too small."
        self.batch_splits = counter("batch_splits", text)
        text = "Engines replaced because they had died or answered wrongly; attempts that failed do not count."
        self.engine_restarts = counter("engine_restarts", text)
        self.queue = gauge("queue_pictures", "Pictures waiting for the engine.")
        self.queue_limit = gauge("queue_limit_pictures", "Pictures that may be in progress at once.")
        text = "Time at which the last batch was finished."
        self._last_inference = gauge("last_inference_timestamp_seconds", text, multiprocess_mode="livemax")
        labels = ["name", "version", "engine", "device", "precision"]
        text = "1 for the network in use, 0 for earlier ones."
        self._model = gauge("model_info", text, labels, multiprocess_mode="livemax")
        self._current_model: Gauge | None = None

        text = "GPU memory that the engines have reserved."
        self._memory_allocated = gauge("device_memory_allocated_bytes", text, ["device"])
        text = "GPU memory in use by all processes."
        self._memory_used = gauge("device_memory_used_bytes", text, ["device"], multiprocess_mode="livemax")
        text = "Total GPU memory."
        self._memory_limit = gauge("device_memory_limit_bytes", text, ["device"], multiprocess_mode="livemax")

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request. `seconds`: from its headers to the end of its response."""
        key = (route, status)
        if key not in self._requests:
            self._requests[key] = self._request_count.labels(*key), self._request_time.labels(*key)
        count, duration = self._requests[key]
        count.inc()
        duration.observe(seconds, self.current_exemplar)

    @property
    def current_exemplar(self) -> dict[str, str] | None:
        """The current request's trace as labels; None if it has none."""
        return None if self.exemplar is None else self.exemplar()

    def decoded(self, seconds: float) -> None:
        """Counts a picture that was decoded and preprocessed in `seconds`."""
        self._decode_time.observe(seconds, self.current_exemplar)

    def batch(self, size: int, seconds: float, exemplar: dict[str, str] | None) -> None:
        """Counts a batch of `size` pictures, which took the engine `seconds`. `exemplar`: a trace of one of them."""
        self._batch_size.observe(size, exemplar)
        self._inference_time.observe(seconds, exemplar)
        self._last_inference.set_to_current_time()

    def dropped(self, reason: str, count: int) -> None:
        """Counts pictures without an answer. `reason` is one of DROP_REASONS."""
        self._dropped[reason].inc(count)

    def prediction(self, label: str, confidence: float, out_of_distribution: bool | None, queued: float) -> None:
        """Counts a picture's answer. `queued`: its seconds in the queue."""
        if label not in self._predictions:
            self._predictions[label] = self._prediction_count.labels(label)
        self._predictions[label].inc()
        exemplar = self.current_exemplar
        self._queue_time.observe(queued, exemplar)
        self._confidence.observe(confidence, exemplar)
        if out_of_distribution:
            self._out_of_distribution.inc()

    def model(self, **labels: str) -> None:
        """Sets the model that answers from now on: its name, version, engine, device and precision."""
        if self._current_model:
            self._current_model.set(0)
        self._current_model = self._model.labels(**labels)
        self._current_model.set(1)

    def device_memory(self, device: str, allocated: int, used: int, limit: int) -> None:
        """Sets bytes on the engine's device. Not called for a CPU, which therefore has no such series."""
        self._memory_allocated.labels(device).set(allocated)
        self._memory_used.labels(device).set(used)
        self._memory_limit.labels(device).set(limit)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics of all workers and their content type, in the format that the Accept header asks for.

        Prometheus' text format, or OpenMetrics, which has the exemplars. With several workers there are no exemplars.
        """
        types = {item.partition(";")[0].strip() for item in accept.split(",")}
        if openmetrics.CONTENT_TYPE_LATEST.partition(";")[0] in types:
            text: bytes = openmetrics.generate_latest(self._registry_of_all_workers())  # type: ignore[no-untyped-call]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self._registry_of_all_workers()), CONTENT_TYPE_PLAIN_0_0_4

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Name, labels and value of each sample of all workers."""
        for family in self._registry_of_all_workers().collect():
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value

    def _registry_of_all_workers(self) -> CollectorRegistry:
        if MULTIPROC_DIR not in os.environ:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry


def remove_dead_workers() -> None:
    """Removes the gauges of workers that have ended. Their counters stay."""
    directory = os.environ.get(MULTIPROC_DIR)
    for file in Path(directory).glob("gauge_live*_*.db") if directory else ():
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
        except PermissionError:
            pass
