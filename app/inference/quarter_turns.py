"""Classifies a picture rotated by 90, 180 and 270° too, in one more batch, if its out-of-distribution score demands.

Messengers remove the EXIF data that says which side of a photo is up.
"""

import contextlib
from collections.abc import Sequence
from typing import cast

from app.errors import ServiceError
from app.inference.batching.batcher import Batcher
from app.inference.batching.requests import Answer, Outcome
from app.inference.scores import Scores, choose_turn, rotate_by_quarters, unclear_pictures
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
