"""Classifies an unclear picture rotated by 90, 180 and 270° too, in one more batch.

Its out-of-distribution score says whether it is unclear. Messengers remove the EXIF data that says which side of a
photo is up.
"""

import contextlib
from collections.abc import Sequence
from typing import cast

import numpy as np

from app.errors import ServiceError
from app.inference.batching.batcher import Batcher
from app.inference.batching.requests import Answer, Outcome
from app.inference.scores import Scores
from model.ood_detector import best_turn
from model.preprocess import Pixels


async def submit_with_quarter_turns(
    batcher: Batcher[Scores], pixels: Sequence[Pixels] | Pixels, deadline: float, may_rotate: Sequence[bool]
) -> list[tuple[Outcome[Scores], int]]:
    """As Batcher.submit. With each outcome come the degrees by which its picture was rotated, counter-clockwise.

    `may_rotate` says for each picture whether it may be rotated. If the second batch fails, the first answers stay.
    """
    outcomes = await batcher.submit(pixels, deadline)
    degrees = [0] * len(outcomes)
    scores = [outcome.result if isinstance(outcome, Answer) else None for outcome in outcomes]
    if unclear := unclear_pictures(scores, may_rotate):
        rotated = [turn for i in unclear for turn in rotate_by_quarters(pixels[i])]
        with contextlib.suppress(ServiceError):
            found = iter(await batcher.submit(rotated, deadline, first=True))
            for i in unclear:
                answer = cast("Answer[Scores]", outcomes[i])  # only answers are unclear
                outcomes[i], degrees[i] = _choose(answer, [next(found), next(found), next(found)])
    return list(zip(outcomes, degrees, strict=True))


def _choose(answer: Answer[Scores], rotated: Sequence[Outcome[Scores]]) -> tuple[Answer[Scores], int]:
    """The best answer. Its times are the sums over its batch and the last batch of the rotated pictures."""
    others = [other for other in rotated if isinstance(other, Answer)]
    if len(others) < len(rotated):
        return answer, 0
    result, degrees = choose_turn(answer.result, [other.result for other in others])
    last = max(others, key=lambda other: other.queued + other.inference)
    times = answer.queued + last.queued, answer.inference + last.inference
    return Answer(result, answer.batch_size, *times, answer.visits + last.visits), degrees


def unclear_pictures(scores: Sequence[Scores | None], may_rotate: Sequence[bool]) -> list[int]:
    """Indices of the pictures to try in their other quarter turns, of those that may be rotated and have scores."""
    return [i for i, each in enumerate(scores) if may_rotate[i] and each is not None and each.needs_rotation_check]


def rotate_by_quarters(pixels: Pixels) -> list[Pixels]:
    """A picture [96,96] rotated by 90, 180 and 270° counter-clockwise."""
    return [np.rot90(pixels, quarter) for quarter in (1, 2, 3)]


def choose_turn(scores: Scores, rotated: Sequence[Scores]) -> tuple[Scores, int]:
    """The scores to answer with, and the degrees by which the picture is rotated for them, counter-clockwise.

    `rotated` are the scores of what `rotate_by_quarters` returns. model.ood_detector.best_turn makes the choice.
    """
    candidates = [scores, *rotated]
    excess = [[candidate.ood_excess] for candidate in candidates if candidate.ood_excess is not None]
    if len(excess) < len(candidates):
        return scores, 0
    confidence = [[candidate.probabilities.max()] for candidate in candidates]
    ((turn,), (is_outlier,)) = best_turn(np.array(excess, np.float32), np.array(confidence, np.float32))
    return candidates[turn]._replace(out_of_distribution=bool(is_outlier)), 90 * int(turn)
