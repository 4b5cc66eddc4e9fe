"""The losses as functions of several arguments; see `joints`.

Definitions choose by a sign which of two equal forms cancels nothing, so that they need no more
digits than the others. A point outside a loss's domain has none.
"""

from typing import Any

import mpmath as mp
import numpy as np
from jax import Array

from sigjax import losses

from . import jets
from .partials import Generator, Joint, each, reals, related, units


def _inside(*probabilities: Any) -> None:
    if not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("no probability")


def _cross_entropy(z: Any, y: Any, w: Any = 1, s: Any = 0) -> Any:
    _inside(y, s)
    positive = w * (y + s * (mp.mpf(1) / 2 - y))
    negative = 1 - y - s * (mp.mpf(1) / 2 - y)
    if z > 0:
        return (positive + negative) * jets.softplus(-z) + negative * z
    return (positive + negative) * jets.softplus(z) - positive * z


def _weighted(z: Any, y: Any, w: Any, s: Any) -> Any:
    return _cross_entropy(z, y, w, s)


def _masses(y: Any, w: Any, s: Any) -> tuple[Any, Any]:
    positive = (1 - s) * y + s / 2
    return w * positive, 1 - positive


def _larger_slope(z: Any, y: Any, w: Any = 1, s: Any = 0) -> Any:
    """The larger term of the slope by z, $b \\sigma(z) - w a \\sigma(-z)$; a, b: see `_masses`."""
    positive, negative = _masses(y, w, s)
    return max(negative * jets.sigmoid(z), positive * jets.sigmoid(-z))


def _larger_balance(z: Any, y: Any, w: Any, s: Any = 0) -> Any:
    """The larger term of $(w - 1) \\log(1 + e^{-|z|}) - z$, or $- w z$ where $z \\le 0$."""
    return max(abs(w - 1) * jets.softplus(-abs(z)), abs(z) * (1 if z > 0 else w))


def _squared_error(z: Any, y: Any) -> Any:
    _inside(y)
    error = (1 - y) - jets.sigmoid(-z) if z > 0 else jets.sigmoid(z) - y
    return error * error


def _error_and_share(z: Any, y: Any) -> tuple[Any, Any]:
    wrong, share = (1 - y if z > 0 else y), jets.sigmoid(-abs(z))
    return abs(wrong - share), max(wrong, share)


def _larger_square(z: Any, y: Any) -> Any:
    """The size of which an ulp is the error of a squared difference e.

    An ulp of the larger term t of e is d = 2^-23 t; an e that is off by d has a square that is off
    by 2 (e + d) d at most, which is an ulp of 2 (e + d) t.
    """
    error, term = _error_and_share(z, y)
    return 2 * (error + term * mp.mpf(2) ** -23) * term


def _slope(z: Any) -> Any:
    return jets.sigmoid(z) * jets.sigmoid(-z)


def _larger_bend(z: Any, y: Any) -> Any:
    error, _ = _error_and_share(z, y)
    return 2 * _slope(z) * max(_slope(z), error * mp.tanh(abs(z) / 2))


def _preference(c: Any, r: Any, beta: Any = 1, margin: Any = 0, s: Any = 0) -> Any:
    _inside(s)
    x = beta * (c - r) - margin
    return jets.softplus(-x) + s * x if x > 0 else jets.softplus(x) - (1 - s) * x


def _plain_preference(c: Any, r: Any) -> Any:
    return _preference(c, r)


def _every_preference(c: Any, r: Any, beta: Any, margin: Any, s: Any) -> Any:
    return _preference(c, r, beta, margin, s)


def _larger_of_preference(c: Any, r: Any, beta: Any, margin: Any, s: Any) -> Any:
    return _larger_slope(beta * (c - r) - margin, 1 - s)


def _larger_of_mixed(c: Any, r: Any, beta: Any, margin: Any, s: Any) -> Any:
    difference = beta * (c - r)
    first = _larger_of_preference(c, r, beta, margin, s)
    return max(first, abs(difference) * _slope(difference - margin))


def _odds_ratio(c: Any, r: Any, beta: Any = 1) -> Any:
    if not (c < 0 and r < 0):
        raise ValueError("no log-probability")
    log_odds = (c - r) + jets.log1mexp(-r) - jets.log1mexp(-c)
    return beta * jets.softplus(-log_odds)


def _weighted_odds_ratio(c: Any, r: Any, beta: Any) -> Any:
    return _odds_ratio(c, r, beta)


def _weights(generator: Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """Positive numbers, most of them near 1; none at the ends of float32's or float16's range."""
    most = 4.0 if dtype == np.float16 else 25.0
    size = generator.uniform(-1, 1, count) * generator.choice([1.0, 1.0, most], count)
    return 10.0**size


def _logits(generator: Generator, count: int, dtype: np.dtype) -> np.ndarray:
    """Reals of sizes that a definition's digits, and a product with a weight, leave room for."""
    drawn = reals(generator, count, dtype)
    return np.clip(np.where(np.abs(drawn) < 1e-30, 0, drawn), -1e10, 1e10)


def _moderate(generator: Generator, arguments: int, count: int, dtype: np.dtype) -> np.ndarray:
    """Related numbers that leave room for a sum of products with a weight."""
    drawn = related(generator, arguments, count, dtype)
    return np.clip(np.where(np.abs(drawn) < 1e-10, 0, drawn), -1e10, 1e10)


def _scores(generator: Generator, arguments: int, count: int, dtype: np.dtype) -> np.ndarray:
    """Chosen and rejected scores, a weight, a margin that may be the difference, a share."""
    scores = _moderate(generator, 2, count, dtype)
    weight = np.clip(_weights(generator, count, dtype), 1e-10, 1e5)
    margin = _moderate(generator, 1, count, dtype)[:, 0]
    close = 1 + 2.0 ** -generator.uniform(0, 20, count)
    margin = np.where(
        generator.uniform(size=count) < 0.3, (scores[:, 0] - scores[:, 1]) * weight * close, margin
    )
    share = units(generator, count, dtype)
    return np.column_stack([scores, weight, np.clip(margin, -1e15, 1e15), share])


def _log_probabilities(
    generator: Generator, arguments: int, count: int, dtype: np.dtype
) -> np.ndarray:
    drawn = -np.abs(related(generator, 2, count, dtype))
    return np.column_stack([np.minimum(drawn, -1e-25), _weights(generator, count, dtype)])


def _weighted_loss(z: Array, y: Array, w: Array, s: Array) -> Array:
    return losses.sigmoid_binary_cross_entropy(z, y, pos_weight=w, label_smoothing=s)


def _loss_of_preference(c: Array, r: Array, beta: Array, margin: Array, s: Array) -> Array:
    return losses.preference_loss(c, r, beta=beta, margin=margin, label_smoothing=s)


LOSS_JOINTS: dict[str, Joint] = {
    "sigmoid_binary_cross_entropy": Joint(
        losses.sigmoid_binary_cross_entropy,
        lambda z, y: _cross_entropy(z, y),
        each(_logits, units),
        {(1, 0): _larger_slope},
    ),
    "sigmoid_binary_cross_entropy, weighted and smoothed": Joint(
        _weighted_loss,
        _weighted,
        each(_logits, units, _weights, units),
        {
            (1, 0, 0, 0): _larger_slope,
            (0, 1, 0, 0): lambda z, y, w, s: (1 - s) * _larger_balance(z, y, w),
            (0, 0, 0, 1): lambda z, y, w, s: abs(mp.mpf(1) / 2 - y) * _larger_balance(z, y, w),
            (0, 1, 0, 1): _larger_balance,
        },
    ),
    "squared_error_on_sigmoid": Joint(
        losses.squared_error_on_sigmoid,
        _squared_error,
        each(_logits, units),
        {
            (0, 0): _larger_square,
            (1, 0): lambda z, y: 2 * _slope(z) * _error_and_share(z, y)[1],
            (0, 1): lambda z, y: 2 * _error_and_share(z, y)[1],
            (2, 0): _larger_bend,
        },
    ),
    "preference_loss": Joint(losses.preference_loss, _plain_preference),
    "preference_loss with all parameters": Joint(
        _loss_of_preference,
        _every_preference,
        _scores,
        {
            (1, 0, 0, 0, 0): lambda *x: x[2] * _larger_of_preference(*x),
            (0, 1, 0, 0, 0): lambda *x: x[2] * _larger_of_preference(*x),
            (0, 0, 1, 0, 0): lambda *x: abs(x[0] - x[1]) * _larger_of_preference(*x),
            (0, 0, 0, 1, 0): _larger_of_preference,
            (0, 0, 0, 0, 1): lambda c, r, beta, margin, s: max(abs(beta * (c - r)), abs(margin)),
            (1, 0, 1, 0, 0): _larger_of_mixed,
            (0, 1, 1, 0, 0): _larger_of_mixed,
        },
        digits=120,
    ),
    "odds_ratio_preference_loss": Joint(
        lambda c, r, beta: losses.odds_ratio_preference_loss(c, r, beta=beta),
        _weighted_odds_ratio,
        _log_probabilities,
        digits=120,
    ),
}
