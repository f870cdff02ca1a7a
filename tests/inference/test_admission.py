"""Who is let in, by a clock that is turned by hand: what a crowd is answered at decides."""

from collections import deque
from contextlib import AbstractContextManager

import pytest

from app.errors import QueueFull
from app.inference.admission import MAX_WAIT, MIN_LIMIT, AdmissionControl
from app.metrics import Metrics

LIMIT, LONGEST = 1024, 10.0


class Crowd:
    """Pictures under way, the oldest of which are answered first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
        self.now = 0.0
        monkeypatch.setattr("app.inference.admission.time.monotonic", lambda: self.now)
        self.admission = AdmissionControl(LIMIT, rate, LONGEST, Metrics())
        self.inside: deque[AbstractContextManager[None]] = deque()

    def come(self) -> None:
        """As many as are let in."""
        while not self.admission.overloaded:
            place = self.admission.admit(1)
            place.__enter__()
            self.inside.append(place)

    def answer(self, count: int, seconds: float) -> None:
        self.now += seconds
        for _ in range(count):
            self.inside.popleft().__exit__(None, None, None)

    def retry_after(self) -> int:
        with pytest.raises(QueueFull) as refused, self.admission.admit(LIMIT):
            pass
        return int(refused.value.headers["Retry-After"])


@pytest.mark.parametrize("rate", [200, 800, 1600])
def test_a_crowd_is_bounded_by_what_it_is_answered_at(monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    """Whatever was thought of it before, and with new ones coming as soon as there is room."""
    crowd = Crowd(monkeypatch, rate=100)
    for _ in range(200):
        crowd.come()
        crowd.answer(16, 16 / rate)
    crowd.come()
    assert crowd.admission.in_progress == pytest.approx(max(MIN_LIMIT, MAX_WAIT * rate), rel=0.05)
    assert crowd.retry_after() == pytest.approx(crowd.admission.in_progress / rate, abs=0.6)


def test_a_pause_is_got_over(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, rate=100)
    for pause in (0.0, 30.0, 0.0):
        crowd.come()
        crowd.answer(16, pause)
        assert crowd.retry_after() <= LONGEST
        for _ in range(50):
            crowd.come()
            crowd.answer(16, 0.02)
    assert crowd.retry_after() == 1


def test_who_gets_no_answer_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of damaged pictures is done with fast, and is no reason to let more in."""
    crowd = Crowd(monkeypatch, rate=100)
    crowd.come()
    for _ in range(1000):
        crowd.now += 0.001
        crowd.inside.popleft().__exit__(ValueError, ValueError("damaged"), None)
        crowd.come()
    assert crowd.admission.in_progress == MIN_LIMIT


def test_the_limit_holds_whatever_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(monkeypatch, rate=100_000)
    crowd.come()
    assert crowd.admission.in_progress == LIMIT
