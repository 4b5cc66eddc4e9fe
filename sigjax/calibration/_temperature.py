"""Temperature scaling: one number for all logits."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from sigjax.functional import sigmoid

from ..functional._messages import must
from ..functional._undefined import nan_unless
from ._arguments import (
    Values,
    classes_of,
    floating,
    in_one_dtype,
    labels_of,
    nonnegative_weights,
    require,
    two_classes,
)
from ._scale import power_of_two
from ._sharding import on_explicit_meshes

# The range of log(1/T), as in scikit-learn's, for logits of spread 1; it is the answer where the
# optimum is T = 0 or infinite.
_LOG_RANGE = 10.0
# Where Newton's method makes no headway the point moves by this factor, until a root is between.
_STRIDE = 256.0
_STEPS = 250  # in float64 `_root` searches a range 2^1843 wide: at most 231 strides


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["temperature", "converged"],
    meta_fields=["classes"],
)
@dataclasses.dataclass(frozen=True)
class TemperatureScaling:
    r"""Logits divided by $T$: a pytree; call it with logits.

    Attributes:
      temperature: $T > 0$; above 1 the network was too sure.
      classes: how many logits an example has; None for one logit of a binary decision.
      converged: whether $T$ is the optimum, to rounding; False where none is best and $T$ is a
        bound, or where a value is NaN.
    """

    temperature: Array
    classes: int | None = None
    converged: Array | bool = True

    def logits(self, logits: Values) -> Array:
        """$z / T$; the order of the classes, and so every decision, stays."""
        z, temperature = in_one_dtype(floating("logits", logits), self.temperature)
        return z / temperature

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
    within a bracket, to rounding. Pure, and vmappable. Logits times $s$ give $T$ times $s$, for
    every $s$ that the dtype holds.

    Args:
      logits: `[examples, classes]`; or `[examples]`, or a column `[examples, 1]`, for binary
        decisions; finite; of examples that the network was not trained on.
      labels: `[examples]`: the class, or booleans, 0 and 1, or -1 and 1 for binary decisions.
      weights: `[examples]`, how often each example counts; 0 leaves one out, whatever its logits.

    Returns:
      A `TemperatureScaling`. Let $s$ be the root mean square of the logits about the mean of their
      example. Three cases have no optimum, and `converged` is False in them. Where every answer is
      right the labels would be likeliest at $T = 0$, and $T = s e^{-10}$ is given. Where the logit
      of the right class is on average not above the mean of its example, they would be likeliest
      at infinity, and $T = s e^{10}$ is given. Where all logits are equal within every example,
      $T = 1$. Under `jit` and `vmap`, where invalid values cannot be refused, $T$ is NaN for them.

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
    scores = floating("logits", logits)
    if scores.ndim not in (1, 2) or 0 in scores.shape:
        raise ValueError(
            must(
                "logits",
                "have shape [examples, classes] or [examples], and not be empty",
                f"{scores.shape}; use jax.vmap for more",
                of="sigjax.calibration.fit_temperature",
            )
        )
    finite = require("logits", f"be finite in {scores.dtype}", logits, scores, jnp.isfinite)
    own, weighed = nonnegative_weights(weights, scores)
    classes = scores.shape[1] if scores.ndim == 2 and scores.shape[1] > 1 else None
    if classes is None:
        scores = scores.reshape(-1)
        positive, possible = two_classes(labels, scores.shape[0])
        scores = jnp.stack([jnp.zeros_like(scores), scores], axis=1)
        answers = positive.astype(jnp.int32)
    else:
        dtype = labels_of(scores.shape[0], labels).dtype
        if not jnp.issubdtype(dtype, jnp.integer):
            raise TypeError(
                must(
                    "labels",
                    "be integers, the classes",
                    f"dtype {dtype}",
                    of="sigjax.calibration.fit_temperature",
                )
            )
        answers, possible = classes_of(labels, *scores.shape)
    valid = finite & weighed & possible
    temperature, converged = on_explicit_meshes(_fit, scores, answers, own, valid)
    return TemperatureScaling(temperature, classes, converged)


@jax.jit
def _fit(logits: Array, labels: Array, weights: Array | None, valid: Array) -> tuple[Array, Array]:
    if weights is not None:
        logits = jnp.where(weights[:, None] > 0, logits, 0)
    # Only differences of an example's logits count; those of the largest numbers would overflow.
    largest = jnp.max(jnp.abs(logits))
    half = jnp.where(largest > jnp.finfo(logits.dtype).max / 2, 0.5, 1.0).astype(logits.dtype)
    logits = logits * half
    # Labels that are none were counted in `valid`, and must not be looked up.
    safe = jnp.clip(labels, 0, logits.shape[1] - 1)
    margins = logits - jnp.take_along_axis(logits, safe[:, None], axis=1)
    unit = power_of_two(jnp.max(jnp.abs(margins)))
    margins = margins * unit
    centred = margins - jnp.mean(margins, axis=1, keepdims=True)
    squares = _average(jnp.mean(jnp.square(centred), axis=1), weights)
    spread = jnp.sqrt(squares)
    spread = jnp.where(spread > 0, spread, 1)

    all_right = jnp.max(margins) <= 0
    uninformed = _average(jnp.mean(margins, axis=1), weights) >= 0
    flat = jnp.max(jnp.abs(margins)) == 0
    inside = valid & ~all_right & ~uninformed
    root, found = _root(margins, weights, 1 / spread, inside)
    sure = jnp.exp(jnp.asarray(_LOG_RANGE, logits.dtype))
    inverse = jnp.where(all_right, sure / spread, jnp.where(uninformed, 1 / sure / spread, root))
    temperature = jnp.where(flat, 1, 1 / inverse / half / unit)
    return nan_unless(valid, temperature), inside & found & jnp.isfinite(temperature)


def _average(x: Array, weights: Array | None) -> Array:
    if weights is None:
        return jnp.mean(x)
    # Divided first: large weights must not overflow.
    return jnp.sum(x * (weights / jnp.sum(weights)))


class _Bracket(NamedTuple):
    low: Array
    high: Array
    point: Array
    moved: Array


def _root(
    margins: Array, weights: Array | None, start: Array, exists: Array
) -> tuple[Array, Array]:
    """The inverse temperature where the mean margin is 0, and whether it was found.

    Args:
      margins: `[examples, classes]`, logits less that of the right class.
      weights: `[examples]`.
      start: where the search begins.
      exists: whether there is one; otherwise nothing is searched.
    """

    def slope_and_curvature(beta: Array) -> tuple[Array, Array]:
        p = jax.nn.softmax(beta * margins, axis=-1)
        mean = jnp.sum(p * margins, axis=-1)
        variance = jnp.sum(p * jnp.square(margins - mean[:, None]), axis=-1)
        return _average(mean, weights), _average(variance, weights)

    limits = jnp.finfo(margins.dtype)
    resolution = 4 * limits.eps
    # The error of so short a step of Newton's is its square.
    short = jnp.sqrt(limits.eps) / 8
    # Far from the ends of the dtype, so that products with strides do not leave it.
    reach = jnp.asarray(float(limits.max) ** 0.9, margins.dtype)

    def goes_on(state: _Bracket) -> Array:
        return jnp.abs(state.moved) > resolution * state.point

    def narrow(state: _Bracket) -> _Bracket:
        slope, curvature = slope_and_curvature(state.point)
        low = jnp.where(slope < 0, state.point, state.low)
        high = jnp.where(slope < 0, state.high, state.point)
        newton = state.point - slope / jnp.where(curvature > 0, curvature, 1)
        inside = (newton > low) & (newton < high) & (curvature > 0)
        step = jnp.abs(newton - state.point)
        last = inside & (step < short * state.point)
        quick = last | (inside & (step < jnp.abs(state.moved) / 2))
        # Halves the bracket's logarithm where Newton's method would leave it or be slow.
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        stride = jnp.clip(middle, state.point / _STRIDE, state.point * _STRIDE)
        point = jnp.where(quick, newton, stride)
        return _Bracket(low, high, point, jnp.where(last, 0, point - state.point))

    start = jnp.clip(start, 1 / reach, reach)
    first = _Bracket(1 / reach, reach, start, jnp.where(exists, reach, 0))
    _, found = lax.while_loop(
        lambda state: goes_on(state[1]) & (state[0] < _STEPS),
        lambda state: (state[0] + 1, narrow(state[1])),
        (jnp.int32(0), first),
    )
    return found.point, ~goes_on(found)
