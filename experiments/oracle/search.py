"""The worst error of a float64 function that a search against mpmath finds."""

import mpmath
import numpy as np

from . import bounds, subjects
from .judge import Worst
from .reference import REFERENCES

# Every reference keeps 20 digits beyond float64's 17 after the cancellation it has.
_DIGITS = 50
_SMALLEST_NORMAL = 2.0**-1022
_KEPT = 12  # inputs with the largest errors so far, whose neighbourhood is tried next

_UNIT = ("logit", "cloglog")
_POSITIVE = ("log1mexp", "softplus_inverse")
_NEGATIVE = ("logitexp", "logit1mexp")


def _spread(name: str, count: int, generator: np.random.Generator) -> np.ndarray:
    """Inputs spread over the exponents at which the function changes."""
    size = 10.0 ** generator.uniform(-9, np.log10(740), count)
    if name in _UNIT:
        small = np.exp(-size)
        centre = 0.5 + generator.choice([-0.5, 0.5], count) * 10.0 ** generator.uniform(
            -15, 0, count
        )
        return np.choose(generator.integers(0, 3, count), [small, 1 - small, centre])
    if name in _POSITIVE:
        return size
    if name in _NEGATIVE:
        return -size
    return size * generator.choice([-1.0, 1.0], count)


def _near(x: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    step = generator.choice([-1.0, 1.0], count) * 10.0 ** generator.uniform(-15, -2, count)
    return generator.choice(x, count) * (1 + step)


def _ulp(name: str, order: int, x: float, result: float) -> float:
    truth = REFERENCES[name][order](mpmath.mpf(x))
    size = abs(float(truth))
    if not (_SMALLEST_NORMAL <= size < np.inf):
        return 0.0
    root = bounds.SILU_ROOTS.get(order, np.inf) if name == "silu" else np.inf
    if abs(abs(x) - root) < bounds.ROOT_REACH:
        size = max(size, bounds.ROOT_LEAST)
    return float(abs(mpmath.mpf(result) - truth) / mpmath.mpf(np.spacing(size)))


def _valid(name: str, x: np.ndarray) -> np.ndarray:
    return x[(x > 0) & (x < 1)] if name in _UNIT else x


def search(library: str, name: str, order: int, tries: int, rounds: int, seed: int) -> Worst:
    """Tries inputs all over the range, then, `rounds` times, as many near the worst ones.

    What it finds is a lower bound of the largest error. Infinite and NaN results at a normal
    truth are counted as wrong.
    """
    generator = np.random.default_rng(seed)
    xs, ulps, wrong = np.empty(0), np.empty(0), 0
    candidates = _spread(name, tries, generator)
    with mpmath.workdps(_DIGITS):
        for _ in range(rounds + 1):
            candidates = _valid(name, candidates)
            results = subjects.evaluate(library, name, order, candidates)
            errors = np.array(
                [
                    _ulp(name, order, x, y)
                    for x, y in zip(candidates.tolist(), results.tolist(), strict=True)
                ]
            )
            wrong += int(np.sum(~np.isfinite(errors)))
            xs, ulps = np.append(xs, candidates), np.append(ulps, np.nan_to_num(errors, posinf=0))
            candidates = _near(xs[np.argsort(ulps)[-_KEPT:]], tries, generator)
    where = int(np.argmax(ulps))
    return Worst(float(ulps[where]), float(xs[where]), wrong)
