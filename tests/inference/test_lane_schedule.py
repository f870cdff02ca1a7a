"""Who takes how many, and when the engine is taken to begin."""

from app.inference.batching.lane_schedule import LaneSchedule


def test_what_waits_is_shared_among_free_lanes() -> None:
    schedule = LaneSchedule(lanes=2, ahead=0, max_batch_size=16, max_array_batch_size=64)
    assert [schedule.next_batch_size(waiting, from_array=False) for waiting in (0, 3, 20, 100)] == [0, 3, 10, 16]
    assert schedule.next_batch_size(100, from_array=True) == 50
    schedule.start(0, 10, 0.0)
    assert schedule.next_batch_size(10, from_array=False) == 10


def test_small_batches_run_alone() -> None:
    schedule = LaneSchedule(lanes=2, ahead=2, max_batch_size=16, max_array_batch_size=64)
    schedule.start(0, 1, 0.0)
    assert schedule.next_batch_size(100, from_array=False) == 0
    schedule.finish(0, 1.0)
    schedule.start(0, 16, 1.0)
    assert schedule.next_batch_size(1, from_array=False) == 0
    assert schedule.next_batch_size(16, from_array=False) == 16


def test_only_full_batches_are_taken_ahead_and_begin_when_a_lane_is_done() -> None:
    schedule = LaneSchedule(lanes=1, ahead=1, max_batch_size=16, max_array_batch_size=64)
    schedule.start(0, 16, 1.0)
    assert [schedule.next_batch_size(15, from_array=False), schedule.next_batch_size(100, from_array=True)] == [0, 0]
    assert schedule.next_batch_size(16, from_array=False) == 16
    schedule.start(1, 16, 2.0)
    assert schedule.started_at(1) == 2.0
    schedule.finish(0, 3.0)
    assert schedule.started_at(1) == 3.0
