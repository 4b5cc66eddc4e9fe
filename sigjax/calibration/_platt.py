"""Platt's sigmoid, fitted by Newton's method."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sigjax.functional import sigmoid, softplus

from ._arguments import Values, nonnegative_weights, one_dimensional, real_floating, two_classes

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
      converged: whether the gradient came below the tolerance, or as near 0 as rounding lets it.
      updates: accepted Newton steps.
    """

    a: Array
    b: Array
    converged: Array
    updates: Array

    def logits(self, scores: Values) -> Array:
        r"""Log-odds $-(A f + B)$ of scores of any shape."""
        return -(self.a * jnp.asarray(scores) + self.b)

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
    Scores are centred and scaled inside: their size, to 1e6 and more, does not matter.

    Args:
      scores: `[examples]`, finite; of examples that the classifier was not trained on.
      labels: `[examples]`, booleans, 0 and 1, or -1 and 1.
      weights: `[examples]`, how often each example counts; 0 leaves one out.
      smooth: whether to use Platt's targets; without, plain maximum likelihood, whose optimum
        may lie at infinity.
      tolerance: on both components of the gradient, by the standardised score and by B.
      max_updates: Newton steps at most.

    Returns:
      A `PlattScaling`. Scores that are all equal give $A = 0$.

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
    scores = one_dimensional("scores", real_floating("scores", scores))
    positive = two_classes(labels, scores.shape[0])
    weights = nonnegative_weights(weights, scores)
    centre, scale = _centre_and_scale(scores, weights)
    total = _Classes(positive, weights)
    start = jnp.log((total.negative + 1) / (total.positive + 1))
    standard = (scores - centre) / scale
    targets = total.targets() if smooth else positive.astype(scores.dtype)
    limits = (float(tolerance), int(max_updates))
    (slope, offset), converged, updates = _minimise_compiled(
        limits, standard, targets, weights, start
    )
    a = slope / scale
    return PlattScaling(a, offset - a * centre, converged, updates)


class _Classes:
    def __init__(self, is_positive: Array, weights: Array):
        self._is_positive = is_positive
        zero = jnp.zeros_like(weights)
        self.positive = jnp.sum(jnp.where(is_positive, weights, zero))
        self.negative = jnp.sum(jnp.where(is_positive, zero, weights))

    def targets(self) -> Array:
        """Platt's, from a uniform prior over the probability."""
        high = (self.positive + 1) / (self.positive + 2)
        low = 1 / (self.negative + 2)
        return jnp.where(self._is_positive, high, low)


def _centre_and_scale(scores: Array, weights: Array) -> tuple[Array, Array]:
    """Constants of the problem; every choice gives the same optimum."""
    share = weights / jnp.sum(weights)
    centre = jnp.sum(share * scores)
    scale = jnp.sqrt(jnp.sum(share * jnp.square(scores - centre)))
    scale = jnp.where(scale > 0, scale, jnp.ones_like(scale))
    return lax.stop_gradient(centre), lax.stop_gradient(scale)


class _Moments(NamedTuple):
    """Loss, gradient and Hessian in (slope, offset)."""

    loss: Array
    by_slope: Array
    by_offset: Array
    slope_slope: Array
    slope_offset: Array
    offset_offset: Array

    def newton_step(self) -> tuple[Array, Array]:
        """Minus the inverse Hessian times the gradient."""
        first = self.slope_slope + _RIDGE
        second = self.offset_offset + _RIDGE
        determinant = first * second - self.slope_offset**2
        slope = -(second * self.by_slope - self.slope_offset * self.by_offset) / determinant
        offset = -(first * self.by_offset - self.slope_offset * self.by_slope) / determinant
        return slope, offset

    def gradient_along(self, step: tuple[Array, Array]) -> Array:
        return self.by_slope * step[0] + self.by_offset * step[1]


def _moments(scores: Array, targets: Array, weights: Array, slope: Array, offset: Array):
    u = slope * scores + offset
    # -log p = softplus(u) and -log(1 - p) = softplus(u) - u
    p = sigmoid(-u)
    loss = weights * (softplus(u) - (1 - targets) * u)
    residual = weights * (targets - p)
    curvature = weights * p * (1 - p)
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
    limits: tuple[float, int], scores: Array, targets: Array, weights: Array, start: Array
) -> tuple[tuple[Array, Array], Array, Array]:
    """Newton's method where trying a step and looking around at its end are one pass.

    So a batch of fits is one loop, and none waits for another's line search.
    """
    tolerance, max_updates = limits

    def converged(state: _Search) -> Array:
        gradient = jnp.maximum(jnp.abs(state.moments.by_slope), jnp.abs(state.moments.by_offset))
        return (gradient < tolerance) | state.settled

    def goes_on(state: _Search) -> Array:
        more = (state.length >= _SHORTEST_STEP) & (state.updates < max_updates)
        return more & ~converged(state)

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
        hidden = -state.slope < _LOSS_ROUNDING * jnp.finfo(scores.dtype).eps * state.moments.loss
        nearer = hidden & (moved.slope > state.slope / 4)
        kept = state._replace(length=state.length / 2, settled=hidden)
        better = jnp.where(hidden, nearer, lower)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), moved, kept)

    point = (jnp.zeros_like(start), start)
    first = _look_around(point, _moments(scores, targets, weights, *point), jnp.int32(0))
    last = lax.while_loop(goes_on, attempt, first)
    return last.point, converged(last), last.updates


@_minimise.defjvp
def _minimise_jvp(limits, primals, tangents):
    scores, targets, weights, _ = primals
    point, converged, updates = _minimise(limits, *primals)

    def gradient(scores: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
        there = _moments(scores, targets, weights, *point)
        return there.by_slope, there.by_offset

    changed = jax.jvp(gradient, (scores, targets, weights), tangents[:3])[1]
    there = _moments(scores, targets, weights, *point)
    moved = there._replace(by_slope=changed[0], by_offset=changed[1]).newton_step()
    zeros = (np.zeros(converged.shape, jax.dtypes.float0),) * 2
    return (point, converged, updates), (moved, *zeros)


_minimise_compiled = jax.jit(_minimise, static_argnums=0)
