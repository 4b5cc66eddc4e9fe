"""Temperature scaling: one number for all logits."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sigjax.functional import sigmoid

from ..functional._arguments import check_numbers
from ._arguments import Values, is_known, nonnegative_weights, real_floating, two_classes

# The range of log(1/T), as in scikit-learn's: where every answer is right the optimum is T = 0.
_LOG_RANGE = 10.0
_STEPS = 100  # bisection alone would need 70 in float64


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["temperature"], meta_fields=["classes"]
)
@dataclasses.dataclass(frozen=True)
class TemperatureScaling:
    r"""Logits divided by $T$: a pytree; call it with logits.

    Attributes:
      temperature: $T > 0$; above 1 the network was too sure.
      classes: how many logits an example has; None for one logit of a binary decision.
    """

    temperature: Array
    classes: int | None = None

    def logits(self, logits: Values) -> Array:
        """$z / T$; the order of the classes, and so every decision, stays."""
        return jnp.asarray(logits) / self.temperature

    def __call__(self, logits: Values) -> Array:
        """Probabilities: softmax over the last axis, or the sigmoid of single logits."""
        scaled = self.logits(logits)
        return sigmoid(scaled) if self.classes is None else jax.nn.softmax(scaled, axis=-1)


def fit_temperature(
    logits: Values, labels: Values, *, weights: Values | None = None
) -> TemperatureScaling:
    r"""Fits the temperature that makes held-out labels likeliest.

    The cross-entropy of $\mathrm{softmax}(\beta z)$, $\beta = 1/T$, is convex in $\beta$: the
    root of its derivative $\sum_i w_i (E_p[z_i] - z_{i, y_i})$ is found by Newton's method kept
    within a bracket, to rounding. Pure, and vmappable.

    Args:
      logits: `[examples, classes]`, or `[examples]` for binary decisions; finite; of examples
        that the network was not trained on.
      labels: `[examples]`: the class, or booleans, 0 and 1, or -1 and 1 for binary decisions.
      weights: `[examples]`, how often each example counts.

    Returns:
      A `TemperatureScaling` with $e^{-10} \le T \le e^{10}$. The bounds are taken where the
      labels are likeliest at $T = 0$ (every answer right) or infinity.

    Raises:
      ValueError: for shapes that do not match, classes that are not there, logits that are not
        finite, weights as in `fit_platt`; values are seen only outside `jit` and `vmap`.
      TypeError: for logits that are not real, or classes that are not integers.

    Example:
      >>> scaling = fit_temperature([4.0, 4.0, 4.0, -4.0, -4.0, -4.0], [1, 1, 0, 0, 0, 1])
      >>> print(f"{scaling.temperature:.4f}")  # 4 / log 2
      5.7708

    References:
      Guo, Pleiss, Sun & Weinberger 2017, ICML, PMLR 70:1321-1330, section 4.2.
    """
    scores = real_floating("logits", logits)
    if scores.ndim not in (1, 2) or 0 in scores.shape:
        raise ValueError(
            f"logits must have shape [examples, classes] or [examples], and not be empty: "
            f"{scores.shape}; use jax.vmap for more"
        )
    weights = nonnegative_weights(weights, scores)
    if scores.ndim == 1:
        positive = two_classes(labels, scores.shape[0])
        pairs = jnp.stack([jnp.zeros_like(scores), scores], axis=1)
        return TemperatureScaling(1 / _inverse(pairs, positive.astype(jnp.int32), weights))
    classes = _classes(labels, *scores.shape)
    return TemperatureScaling(1 / _inverse(scores, classes, weights), scores.shape[1])


def _classes(labels: Values, examples: int, classes: int) -> Array:
    check_numbers(labels=labels)
    array = jnp.asarray(labels)
    if array.shape != (examples,):
        raise ValueError(f"labels must have shape {(examples,)}, not {array.shape}")
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"labels must be integers, the classes, not {array.dtype}")
    if is_known(labels):
        values = np.asarray(labels)
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(
                f"labels must be classes from 0 to {classes - 1}: {values.min()} to {values.max()}"
            )
    return array


class _Bracket(NamedTuple):
    low: Array
    high: Array
    point: Array
    moved: Array


@jax.jit
def _inverse(logits: Array, labels: Array, weights: Array) -> Array:
    """1 / T."""
    # Only differences of an example's logits count.
    logits = logits - jnp.take_along_axis(logits, labels[:, None], axis=1)

    def slope_and_curvature(beta: Array) -> tuple[Array, Array]:
        p = jax.nn.softmax(beta * logits, axis=-1)
        mean = jnp.sum(p * logits, axis=-1)
        variance = jnp.sum(p * jnp.square(logits - mean[:, None]), axis=-1)
        return jnp.sum(weights * mean), jnp.sum(weights * variance)

    low, high = (jnp.asarray(jnp.exp(sign * _LOG_RANGE), logits.dtype) for sign in (-1.0, 1.0))
    resolution = 4 * jnp.finfo(logits.dtype).eps

    def goes_on(state: _Bracket) -> Array:
        return jnp.abs(state.moved) > resolution * state.point

    def narrow(state: _Bracket) -> _Bracket:
        slope, curvature = slope_and_curvature(state.point)
        low = jnp.where(slope < 0, state.point, state.low)
        high = jnp.where(slope < 0, state.high, state.point)
        newton = state.point - slope / jnp.where(curvature > 0, curvature, 1)
        # Halves the bracket's logarithm where Newton's method would leave it.
        inside = (newton > low) & (newton < high) & (curvature > 0)
        point = jnp.where(inside, newton, jnp.sqrt(low) * jnp.sqrt(high))
        return _Bracket(low, high, point, point - state.point)

    one = jnp.ones((), logits.dtype)
    counted = (jnp.int32(0), _Bracket(low, high, one, one))
    _, found = lax.while_loop(
        lambda state: goes_on(state[1]) & (state[0] < _STEPS),
        lambda state: (state[0] + 1, narrow(state[1])),
        counted,
    )
    return found.point
