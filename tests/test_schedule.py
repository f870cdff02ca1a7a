"""Who takes how many, and when the engine is taken to begin."""

from app.inference.lane_schedule import LaneSchedule


def test_what_waits_is_shared_among_free_lanes() -> None:
    schedule = LaneSchedule(lanes=2, ahead=0, largest=16, largest_block=64)
    assert [schedule.share(waiting, block=False) for waiting in (0, 3, 20, 100)] == [0, 3, 10, 16]
    assert schedule.share(100, block=True) == 50
    schedule.begin(0, 10, 0.0)
    assert schedule.share(10, block=False) == 10


def test_small_batches_run_alone() -> None:
    schedule = LaneSchedule(lanes=2, ahead=2, largest=16, largest_block=64)
    schedule.begin(0, 1, 0.0)
    assert schedule.share(100, block=False) == 0
    schedule.done(0, 1.0)
    schedule.begin(0, 16, 1.0)
    assert schedule.share(1, block=False) == 0
    assert schedule.share(16, block=False) == 16


def test_only_full_batches_are_taken_ahead_and_begin_when_a_lane_is_done() -> None:
    schedule = LaneSchedule(lanes=1, ahead=1, largest=16, largest_block=64)
    schedule.begin(0, 16, 1.0)
    assert [schedule.share(15, block=False), schedule.share(100, block=True)] == [0, 0]
    assert schedule.share(16, block=False) == 16
    schedule.begin(1, 16, 2.0)
    assert schedule.begun(1) == 2.0
    schedule.done(0, 3.0)
    assert schedule.begun(1) == 3.0
