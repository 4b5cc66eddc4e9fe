"""What a classifier's score may stand for: probabilities that a calibration is to find."""

from collections.abc import Callable

from jax import Array

import sigjax


def _sigmoid(scores: Array) -> Array:
    return sigjax.sigmoid(1.5 * scores - 0.5)


def _two_steps(scores: Array) -> Array:
    """Half of the evidence comes at once below 0, half above."""
    return (sigjax.sigmoid(6 * (scores + 1)) + sigjax.sigmoid(6 * (scores - 1))) / 2


DISTORTIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": _sigmoid,
    "two steps": _two_steps,
}
"""The probability of a 1 for scores `[...]`, by the name of its shape."""
