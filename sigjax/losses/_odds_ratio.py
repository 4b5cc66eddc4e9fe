"""Preference by the ratio of the odds that a model gives two answers."""

import functools

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._compiled import compiled
from ..functional._differences import plain_difference
from ..functional._double_word import two_product, two_sum
from ..functional._exponentials import log1p_unit, log_of
from ..functional._root import LOG_2
from ..functional._undefined import nan_unless
from ._checked import LARGEST, checked
from ._elements import Axis, elements
from ._partials import Kernel, Orders, by_tracing, differentiable
from ._tail import Tail, paired, saturate

# With p = e^c and q = e^r the loss is log(1 + R), R = e^{r - c} (1 - p)/(1 - q). Of R and 1/R the
# one that is at most 1 is T = t v/u, where t = e^{-|c - r|} and v <= u are the two complements;
# which of them is which follows from the sign of c - r. All derivatives are rational in t, u, v,
# q and T, and none of their sums cancels.


# log(1 + T) is T, to all digits of float64.
_NEGLIGIBLE = 2.0**-54


class _Odds:
    """The quantities above."""

    def __init__(self, chosen: Array, rejected: Array):
        chosen, rejected = (nan_unless(x <= 0, x) for x in (chosen, rejected))
        d, rest = plain_difference(chosen, rejected)
        self.right = d >= 0
        self.tail = Tail(lax.abs(d), lax.select(self.right, rest, -rest))
        p, q = Tail(-chosen), Tail(-rejected)
        self.q = q.t
        (of_p, lost_p), (of_q, lost_q) = p.complement(), q.complement()
        self.u, self.v = self._larger_first(of_q, of_p)
        self.lost_u, self.lost_v = self._larger_first(lost_q, lost_p)
        ratio = self.v / self.u
        ratio = ratio + (self.lost_v - ratio * self.lost_u) / self.u
        # Log-probabilities that are both 0 are a tie, as any that are the same.
        self.ratio = lax.select(self.u == 0, jnp.ones_like(ratio), ratio)
        self.smaller = self.tail.times(self.ratio)
        self.whole = self.u + self.tail.times(self.v)

    def _larger_first(self, of_q: Array, of_p: Array) -> tuple[Array, Array]:
        return lax.select(self.right, of_q, of_p), lax.select(self.right, of_p, of_q)

    def one_less_twice_q(self, rejected: Array) -> Array:
        """$1 - 2q$, with its digits at the root $r = -\\log 2$."""
        d, rest = LOG_2.difference(-rejected)
        near = Tail(jnp.clip(d, -1.0, 1.0), lax.full_like(d, -rest)).complement()[0]
        return lax.select(lax.abs(d) < 1, near, 1 - 2 * self.q)


@functools.cache
def _odds_ratio(weighted: bool, dtype: str) -> Kernel:
    r"""Returns the loss as a differentiable function of $c$, $r$ and, if any, $\beta$.

    Args:
      dtype: of the result, beyond whose largest number no derivative goes.
    """
    limit = float(jnp.finfo(dtype).max)

    def partial(orders: Orders) -> Kernel | None:
        by_chosen, by_rejected, *others = orders
        by_weight = sum(others)
        order = by_chosen + by_rejected
        if by_weight > 1:
            return None
        if order > 2:  # the kernels are smooth between the jumps of their exponents
            last = 0 if by_chosen else 1
            lower = partial(tuple(n - (i == last) for i, n in enumerate(orders)))
            return None if lower is None else by_tracing(lower, last)

        def kernel(chosen: Array, rejected: Array, *parameters: Array) -> Array:
            weights = () if by_weight else parameters
            value = _FORMS[by_chosen, by_rejected](_Odds(chosen, rejected), rejected, *weights)
            return jnp.clip(value, -limit, limit) if order else value

        return kernel

    return differentiable(partial, (0,) * (2 + weighted))


def _value(at: _Odds, rejected: Array, *weights: Array) -> Array:
    near = log1p_unit(at.smaller)
    distance = at.tail.a - log_of(at.ratio)
    near = near + lax.select(at.right, jnp.zeros_like(distance), distance)
    if not weights:
        return near
    (beta,) = weights
    negligible = at.right & (at.smaller < _NEGLIGIBLE)
    return lax.select(negligible, at.tail.times(at.ratio * beta), near * beta)


def _by_chosen(at: _Odds, rejected: Array, *weights: Array) -> Array:
    one = weights[0] if weights else jnp.ones_like(at.u)
    return -lax.select(at.right, at.tail.times(one), one) / at.whole


def _by_rejected(at: _Odds, rejected: Array, *weights: Array) -> Array:
    one = weights[0] if weights else jnp.ones_like(at.u)
    right = at.tail.times(*paired(one, at.ratio * (1 / at.whole)))
    return lax.select(at.right, right, one / (at.v * (1 + at.smaller)))


# The compiler turns two divisions into one by the product of the divisors, which may be subnormal.
# So second derivatives do not divide twice: each of two factors is multiplied by the inverse of the
# divisor.


def _by_both(at: _Odds, rejected: Array, *weights: Array) -> Array:
    inverse = saturate(1 / at.whole)
    return -at.tail.times(*paired(inverse, functools.reduce(jnp.multiply, weights, inverse)))


def _by_chosen_twice(at: _Odds, rejected: Array, *weights: Array) -> Array:
    return -_by_both(at, rejected, *weights) * at.one_less_twice_q(rejected)


def _by_rejected_twice(at: _Odds, rejected: Array, *weights: Array) -> Array:
    one = weights[0] if weights else jnp.ones_like(at.u)
    whole, lost = two_sum(at.smaller, jnp.ones_like(at.u))
    bracket = at.q * whole + lax.select(at.right, jnp.ones_like(at.u), at.smaller)
    inverse = _inverse_of_product(at.u, at.lost_u, whole, lost)
    smaller, larger = paired(one, bracket * inverse)
    right = at.tail.times(*paired(larger, (at.ratio * inverse) * smaller))
    inverse = _inverse_of_product(at.v, at.lost_v, whole, lost)
    return lax.select(at.right, right, (one * inverse) * (bracket * inverse))


def _inverse_of_product(a: Array, lost_a: Array, b: Array, lost_b: Array) -> Array:
    product, lost = two_product(a, b)
    inverse = saturate(1 / product)
    step = inverse * ((lost + (lost_a * b + a * lost_b)) * inverse)
    return lax.select(lax.is_finite(step), inverse - step, inverse)


_FORMS = {
    (0, 0): _value,
    (1, 0): _by_chosen,
    (0, 1): _by_rejected,
    (2, 0): _by_chosen_twice,
    (1, 1): _by_both,
    (0, 2): _by_rejected_twice,
}


@checked(beta=(0.0, LARGEST))
@compiled("axis")
def odds_ratio_preference_loss(
    chosen_log_prob: ArrayLike,
    rejected_log_prob: ArrayLike,
    *,
    beta: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    axis: Axis = None,
) -> Array:
    r"""ORPO's loss: $-\beta \log \sigma$ of the logarithm of the ratio of two answers' odds.

    With $p = e^{c}$ and $q = e^{r}$ it is
    $-\beta \log \sigma(\log\frac{p}{1-p} - \log\frac{q}{1-q})$. As $p$ goes to 1 the log-odds are
    infinite and a difference of them has no gradient; this has the one of the closed form,
    $-\beta/(e^{-r} - 1)$ by $c$ at $c = 0$.

    Args:
      chosen_log_prob, rejected_log_prob: $c, r \le 0$, in ORPO the means of an answer's
        log-probabilities a token, of shapes that broadcast together, usually `[batch]`; their
        joint dtype is the result's. 16-bit is computed in float32.
      beta: weight $\beta \ge 0$ of this loss beside the likelihood of the chosen answer
        (the paper's $\lambda$): it multiplies the logarithm. Broadcasts.
      where: boolean; entries where it is False count 0 and get gradient 0, even if they hold NaN.
      axis: axis or axes to sum over; None leaves every pair for itself.

    Returns:
      Array of the joint shape less `axis`: 0 at $c = 0$, infinity at $r = 0$, $\beta \log 2$ where
      both are, NaN for positive log-probabilities. The gradients are finite everywhere; where
      the truth is beyond the result's dtype its largest number stands for it.

    Raises:
      TypeError: if an argument is not a real number or array, or `where` is not boolean.
      ValueError: if shapes do not broadcast, or `beta`, known outside `jit`, is negative.

    Example:
      >>> import jax, sigjax
      >>> loss = sigjax.losses.odds_ratio_preference_loss
      >>> print(f"{loss(-0.5, -1.0):.4f} {jax.grad(loss)(0.0, -1.0):.6f}")
      0.3203 -0.581977

    References:
      Hong, Lee & Thorne 2024, ORPO: Monolithic Preference Optimization without Reference Model
      (arXiv:2403.07691), equations 4 to 7.
    """
    beta_ = None if isinstance(beta, float) and beta == 1.0 else beta
    given = elements(
        "odds_ratio_preference_loss",
        {"chosen_log_prob": chosen_log_prob, "rejected_log_prob": rejected_log_prob},
        {"beta": beta_},
        where=where,
    )
    loss = _odds_ratio(beta_ is not None, jnp.dtype(given.dtype).name)
    return given.reduce(loss(*given.arguments), axis)
