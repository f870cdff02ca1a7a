"""A picture that looks like no garment, or nearly so, is looked at in its other quarter turns too: one more batch.

Messengers strip the EXIF data that says which side is up.
"""

import contextlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.batcher import Answer, Batcher, Outcome
from app.errors import ServiceError
from app.scores import Scores, righted, turns

Pixels = NDArray[np.uint8]


async def submit_upright(
    batcher: Batcher[Scores], pixels: Sequence[Pixels] | Pixels, deadline: float, may_turn: Sequence[bool]
) -> list[tuple[Outcome[Scores], int]]:
    """As Batcher.submit, each outcome with the degrees by which its picture was turned for it, counter-clockwise.

    `may_turn` says of each picture whether it may be. Where the other batch fails, the first one's answers stay.
    """
    outcomes = await batcher.submit(pixels, deadline)
    degrees = [0] * len(outcomes)
    doubtful = [
        (i, outcome)
        for i, outcome in enumerate(outcomes)
        if may_turn[i] and isinstance(outcome, Answer) and outcome.result.doubtful
    ]
    if doubtful:
        with contextlib.suppress(ServiceError):
            turned = iter(await batcher.submit([turn for i, _ in doubtful for turn in turns(pixels[i])], deadline))
            for i, outcome in doubtful:
                outcomes[i], degrees[i] = _best(outcome, [next(turned), next(turned), next(turned)])
    return list(zip(outcomes, degrees, strict=True))


def _best(answer: Answer[Scores], turned: Sequence[Outcome[Scores]]) -> tuple[Answer[Scores], int]:
    """The answer to give; its times are those of both batches."""
    others = [other for other in turned if isinstance(other, Answer)]
    if len(others) < len(turned):
        return answer, 0
    result, degrees = righted(answer.result, [other.result for other in others])
    queued = answer.queued + max(other.queued for other in others)
    inference = answer.inference + max(other.inference for other in others)
    return Answer(result, answer.batch_size, queued, inference), degrees
