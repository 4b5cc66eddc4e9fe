"""Platt's sigmoid, fitted by Newton's method."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sigjax.functional import sigmoid

from ..functional._sigmoid import SIGMOID
from ..functional._softplus import SOFTPLUS
from ..functional._undefined import nan_unless
from ._arguments import (
    Values,
    floating,
    in_one_dtype,
    nonnegative_weights,
    one_dimensional,
    require,
    two_classes,
)
from ._scale import power_of_two
from ._sharding import on_explicit_meshes

# Lin, Lin & Weng 2007, algorithm 1 and libsvm's sigmoid_train.
_RIDGE = 1e-12
_DECREASE = 1e-4
_SHORTEST_STEP = 1e-10
_UPDATES = 100
_TOLERANCE = 1e-5
# Units in the last place that summing thousands of terms may cost.
_LOSS_ROUNDING = 32


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["a", "b", "converged", "updates"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class PlattScaling:
    r"""$P(y = 1 \mid f) = \frac{1}{1 + e^{A f + B}}$: a pytree; call it with scores.

    Attributes:
      a: $A$, negative where high scores mean positive. This sign is Platt's and libsvm's.
      b: $B$.
      converged: whether the gradient came below the tolerance, or as near 0 as rounding lets it
        and below the square root of the dtype's resolution. False where a value is NaN.
      updates: accepted Newton steps.
    """

    a: Array
    b: Array
    converged: Array
    updates: Array

    def logits(self, scores: Values) -> Array:
        r"""Log-odds $-(A f + B)$ of scores of any shape."""
        a, b, x = in_one_dtype(self.a, self.b, floating("scores", scores))
        return -(a * x + b)

    def __call__(self, scores: Values) -> Array:
        """Probability of the positive class, for scores of any shape."""
        return sigmoid(self.logits(scores))


def fit_platt(
    scores: Values,
    labels: Values,
    *,
    weights: Values | None = None,
    smooth: bool = True,
    tolerance: float = _TOLERANCE,
    max_updates: int = _UPDATES,
) -> PlattScaling:
    r"""Fits $P(y = 1 \mid f) = 1/(1 + e^{A f + B})$ to scores of a classifier.

    Minimises the cross-entropy $-\sum_i w_i [t_i \log p_i + (1 - t_i) \log(1 - p_i)]$ by Newton's
    method with backtracking, from $A = 0$. The targets are Platt's
    $t_+ = \frac{N_+ + 1}{N_+ + 2}$ and $t_- = \frac{1}{N_- + 2}$: with them a set of one class and
    a perfectly separable one have a finite optimum.

    Pure; under `jax.vmap` a thousand fits run at once. Differentiable once by scores and weights,
    through the optimality condition. Computes in the dtype of the scores, float32 at least.
    Scores are centred and scaled inside: the fit of $s f$ is that of $f$ with $A/s$, for every
    $s$ that the dtype holds. Its sums are sums by pairs, good to some ulp of the sum of the terms'
    sizes for any number of examples.

    Args:
      scores: `[examples]`, finite; of examples that the classifier was not trained on.
      labels: `[examples]`, booleans, 0 and 1, or -1 and 1.
      weights: `[examples]`, how often each example counts; 0 leaves one out, whatever its score.
      smooth: whether to use Platt's targets; without, plain maximum likelihood, whose optimum
        may lie at infinity: the fit of classes that separate ends where the gradient is small.
      tolerance: on both components of the gradient, by the standardised score and by B; relative
        to the curvature at the start if that is below 1.
      max_updates: Newton steps at most.

    Returns:
      A `PlattScaling`. Scores that are all equal give $A = 0$; a single class gives its smoothed
      frequency. `converged` is False where steps ran out, and without `smooth` also where a score
      is so far from the others that the dtype cannot tell those apart beside it. Under `jit` and
      `vmap`, where invalid values cannot be refused, $A$ and $B$ are NaN for them.

    Raises:
      ValueError: for shapes that do not match, no examples, scores that are not finite, other
        labels, negative weights or none above 0; values are seen only outside `jit` and `vmap`.
      TypeError: for scores that are not real.

    Example:
      >>> platt = fit_platt([5.0, -4.0, 1.0], [1, -1, -1])
      >>> print(f"{platt.a:.4f} {platt.b:.4f}")
      -0.2026 0.6524

    References:
      Platt 1999, Advances in Large Margin Classifiers, 61-74; Lin, Lin & Weng 2007, Machine
      Learning 68:267-276, algorithm 1. Fixture: scikit-learn's test, from libsvm.
    """
    array = one_dimensional("scores", floating("scores", scores))
    require("scores", f"be finite in {array.dtype}", scores, array, jnp.isfinite)
    positive, possible = two_classes(labels, array.shape[0])
    own, weighed = nonnegative_weights(weights, array)
    fit = functools.partial(_fit, (float(tolerance), int(max_updates)), smooth)
    return on_explicit_meshes(fit, array, positive, own, possible & weighed)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(
    limits: tuple[float, int],
    smooth: bool,
    scores: Array,
    positive: Array,
    weights: Array | None,
    valid: Array,
) -> PlattScaling:
    # A score with weight. It replaces those of weight 0, which then change nothing, whatever they
    # were.
    reference = scores[0] if weights is None else scores[jnp.argmax(weights)]
    if weights is not None:
        scores = jnp.where(weights > 0, scores, reference)
    largest = jnp.max(jnp.abs(scores))
    unit = power_of_two(largest)
    near = scores * unit
    centre, scale = _centre_and_scale(near, weights, reference * unit)
    standard = (near - centre) / scale
    total = _Classes(positive, weights, scores.dtype)
    start = jnp.log((total.negative + 1) / (total.positive + 1))
    targets = total.targets() if smooth else positive.astype(scores.dtype)
    valid = valid & jnp.isfinite(largest) & jnp.isfinite(total.positive + total.negative)
    (slope, offset), converged, updates = _minimise(
        limits, standard, targets, weights, start, valid
    )
    if not smooth:
        converged &= _tells_apart(near, standard, scale)
    slope = slope / scale
    a, b = (nan_unless(valid, each) for each in (slope * unit, offset - slope * centre))
    return PlattScaling(a, b, converged & jnp.isfinite(a + b), updates)


class _Classes:
    """Weights of the classes, and the targets that follow from them."""

    def __init__(self, is_positive: Array, weights: Array | None, dtype: np.dtype):
        self._is_positive = is_positive
        if weights is None:
            positive = jnp.sum(is_positive)
            self.positive = positive.astype(dtype)
            self.negative = (is_positive.shape[0] - positive).astype(dtype)
        else:
            self.positive = jnp.sum(jnp.where(is_positive, weights, 0))
            self.negative = jnp.sum(jnp.where(is_positive, 0, weights))

    def targets(self) -> Array:
        """Platt's, from a uniform prior over the probability."""
        high = (self.positive + 1) / (self.positive + 2)
        low = 1 / (self.negative + 2)
        return jnp.where(self._is_positive, high, low)


def _weighted(weights: Array | None, x: Array) -> Array:
    return x if weights is None else weights * x


def _centre_and_scale(
    scores: Array, weights: Array | None, reference: Array
) -> tuple[Array, Array]:
    """Constants of the problem; every choice gives the same optimum."""
    share = None if weights is None else weights / jnp.sum(weights)
    add = jnp.mean if share is None else jnp.sum
    # As seen from one of them, equal scores are at their centre exactly.
    centre = reference + add(_weighted(share, scores - reference))
    scale = jnp.sqrt(add(_weighted(share, jnp.square(scores - centre))))
    scale = jnp.where(scale > 0, scale, jnp.ones_like(scale))
    return lax.stop_gradient(centre), lax.stop_gradient(scale)


def _tells_apart(scores: Array, standard: Array, scale: Array) -> Array:
    """Whether standardising has left the scores other than the farthest room to differ.

    Once standardised they must differ by at least the root of the dtype's resolution, or be equal.

    A score far on its right side adds nothing more, and the others decide the optimum. But
    standardising them beside it may have rounded them to one number.
    """
    distance = jnp.abs(standard)
    others = distance <= jnp.max(distance) / 2
    least = jnp.min(jnp.where(others, scores, jnp.inf))
    most = jnp.max(jnp.where(others, scores, -jnp.inf))
    reach = (most - least) / scale
    return ~((reach > 0) & (reach < jnp.sqrt(jnp.finfo(scores.dtype).eps)))


class _Moments(NamedTuple):
    """Loss, gradient and Hessian in (slope, offset)."""

    loss: Array
    by_slope: Array
    by_offset: Array
    slope_slope: Array
    slope_offset: Array
    offset_offset: Array

    def newton_step(self) -> tuple[Array, Array]:
        """Minus the inverse Hessian times the gradient, in units of the offset's curvature."""
        unit = jnp.where(self.offset_offset > 0, self.offset_offset, 1)
        first = self.slope_slope / unit + _RIDGE
        cross = self.slope_offset / unit
        second = 1.0 + _RIDGE
        determinant = first * second - cross**2
        slope = -(second * self.by_slope - cross * self.by_offset) / unit / determinant
        offset = -(first * self.by_offset - cross * self.by_slope) / unit / determinant
        return slope, offset

    def gradient_along(self, step: tuple[Array, Array]) -> Array:
        return self.by_slope * step[0] + self.by_offset * step[1]


def _moments(
    scores: Array, targets: Array, weights: Array | None, slope: Array, offset: Array
) -> _Moments:
    u = slope * scores + offset
    # -log p = softplus(u) and -log(1 - p) = softplus(u) - u
    p = SIGMOID(-u)
    loss = _weighted(weights, SOFTPLUS(u) - (1 - targets) * u)
    residual = _weighted(weights, targets - p)
    curvature = _weighted(weights, p * (1 - p))
    return _Moments(
        # A product with ones keeps XLA on CPU from computing the softplus inside a scalar loop of
        # additions: the pass takes 0.3 of the time in float64, 0.5 in float32.
        jnp.matmul(loss, jnp.ones_like(scores), precision=lax.Precision.HIGHEST),
        jnp.sum(residual * scores),
        jnp.sum(residual),
        jnp.sum(curvature * scores * scores),
        jnp.sum(curvature * scores),
        jnp.sum(curvature),
    )


class _Search(NamedTuple):
    """The best point, what is known there, and the step being tried from it."""

    point: tuple[Array, Array]
    moments: _Moments
    direction: tuple[Array, Array]
    slope: Array
    length: Array
    updates: Array
    settled: Array


def _look_around(point: tuple[Array, Array], moments: _Moments, updates: Array) -> _Search:
    direction = moments.newton_step()
    slope = moments.gradient_along(direction)
    return _Search(
        point, moments, direction, slope, jnp.ones_like(slope), updates, jnp.zeros((), bool)
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _minimise(
    limits: tuple[float, int],
    scores: Array,
    targets: Array,
    weights: Array | None,
    start: Array,
    valid: Array,
) -> tuple[tuple[Array, Array], Array, Array]:
    """Newton's method where trying a step and looking around at its end are one pass.

    So a batch of fits is one loop, and none waits for another's line search.
    """
    tolerance, max_updates = limits
    point = (jnp.zeros_like(start), start)
    first = _look_around(point, _moments(scores, targets, weights, *point), jnp.int32(0))
    curvature = first.moments.offset_offset
    rounding = jnp.finfo(scores.dtype).eps

    def converged(state: _Search) -> Array:
        gradient = jnp.maximum(jnp.abs(state.moments.by_slope), jnp.abs(state.moments.by_offset))
        small = gradient < tolerance * jnp.minimum(curvature, 1)
        return small | (state.settled & (gradient < jnp.sqrt(rounding) * curvature))

    def goes_on(state: _Search) -> Array:
        more = (state.length >= _SHORTEST_STEP) & (state.updates < max_updates)
        return more & ~state.settled & ~converged(state)

    def attempt(state: _Search) -> _Search:
        point = (
            state.point[0] + state.length * state.direction[0],
            state.point[1] + state.length * state.direction[1],
        )
        there = _moments(scores, targets, weights, *point)
        moved = _look_around(point, there, state.updates + 1)
        lower = there.loss < state.moments.loss + _DECREASE * state.length * state.slope
        # Near the optimum the loss changes by less than its rounding; Newton's decrement still
        # falls by far more than 4 in a step, until it is rounding as well.
        hidden = -state.slope < _LOSS_ROUNDING * rounding * state.moments.loss
        nearer = hidden & (moved.slope > state.slope / 4)
        kept = state._replace(length=state.length / 2, settled=hidden)
        better = jnp.where(hidden, nearer, lower)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), moved, kept)

    # What has no optimum takes no step, and a batch does not wait for it.
    first = first._replace(settled=~valid)
    last = lax.while_loop(goes_on, attempt, first)
    return last.point, converged(last), last.updates


@_minimise.defjvp
def _minimise_jvp(limits, primals, tangents):
    scores, targets, weights, _, _ = primals
    point, converged, updates = _minimise(limits, *primals)

    def gradient(scores: Array, targets: Array, weights: Array | None) -> tuple[Array, Array]:
        there = _moments(scores, targets, weights, *point)
        return there.by_slope, there.by_offset

    changed = jax.jvp(gradient, (scores, targets, weights), tangents[:3])[1]
    there = _moments(scores, targets, weights, *point)
    moved = there._replace(by_slope=changed[0], by_offset=changed[1]).newton_step()
    zeros = (np.zeros(converged.shape, jax.dtypes.float0),) * 2
    return (point, converged, updates), (moved, *zeros)
