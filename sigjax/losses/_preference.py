"""Preference between two answers: the cross-entropy of a difference."""

import functools
import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional import _sigmoid
from ..functional._arithmetic import add, choose, less, multiply
from ..functional._compiled import compiled
from ..functional._differences import plain_difference
from ..functional._double_word import two_product, two_sum
from ._checked import LARGEST, checked
from ._elements import Axis, elements
from ._partials import Kernel, Orders, differentiable
from ._tail import Tail, product_or_0, saturate, signed


@functools.cache
def _preference(scaled: bool, shifted: bool, smoothed: bool) -> Kernel:
    r"""Returns $g(\beta (c - r) - m)$ with $g(x) = \log(1 + e^{-x}) + s x$, as a function.

    Its arguments are $c$, $r$ and those of $\beta$, $m$ and $s$ that there are; without them
    $\beta = 1$, $m = 0$ and $s = 0$. $x$ is linear in each of $c$, $r$, $\beta$ and $m$, so that a
    derivative is one of $g$ times powers of $\beta$ and $d = c - r$, or, since $\beta$ multiplies
    $d$, a sum of such by Leibniz' rule.
    """

    def partial(orders: Orders) -> Kernel | None:
        by_chosen, by_rejected, *others = orders
        by_scale = others.pop(0) if scaled else 0
        by_shift = others.pop(0) if shifted else 0
        by_smoothing = others.pop(0) if smoothed else 0
        by_difference = by_chosen + by_rejected
        by_x = by_difference + by_shift
        # h of the derivatives by beta fall on the powers of beta in front.
        terms = [h for h in range(by_scale + 1) if h <= by_difference]
        if by_smoothing:
            terms = [h for h in terms if by_x + by_scale - h < 2]
            if not terms or by_smoothing > 1:
                return None
        sign = (-1) ** (by_rejected + by_shift)

        def kernel(chosen: Array, rejected: Array, *parameters: Array) -> Array:
            remaining = list(parameters)
            beta = remaining.pop(0) if scaled else None
            margin = remaining.pop(0) if shifted else None
            s = remaining.pop(0) if smoothed else None
            at = _argument(chosen, rejected, beta, margin)
            if len(terms) == 2 and by_x == by_scale == 1:
                return sign * _mixed(at, s)
            summands = []
            for h in terms:
                weights = _weights(beta, at, by_difference - h, by_scale - h)
                order = by_x + by_scale - h
                if by_smoothing:
                    summand = functools.reduce(
                        jnp.multiply, weights, jnp.ones_like(at.x) if order else saturate(at.x)
                    )
                else:
                    summand = _of_argument(order, at.x, at.rest, s, weights)
                count = math.comb(by_scale, h) * math.perm(by_difference, h) * sign
                summands.append(summand if count == 1 else multiply(count, summand))
            return functools.reduce(jnp.add, summands)

        return kernel

    return differentiable(partial, (0,) * (2 + scaled + shifted + smoothed))


class _Argument(NamedTuple):
    r"""$x = \beta d - m$, $d = c - r$, $\beta d$, and what rounding took from $x$ and $\beta d$."""

    x: Array
    rest: Array
    d: Array
    scaled: Array
    rest_of_scaled: Array


def _argument(
    chosen: Array, rejected: Array, beta: Array | None, margin: Array | None
) -> _Argument:
    d, rest = plain_difference(chosen, rejected)
    x, last = d, jnp.zeros_like(d)
    if beta is not None:
        x, lost = two_product(d, beta)
        if margin is None:
            rest = rest * beta + lost
        else:
            rest, last = two_product(rest, beta)
            rest, lost = two_sum(rest, lost)
            last = last + lost
    scaled = saturate(x), rest
    if margin is not None:  # where terms cancel, rounding errors of rounding errors count
        x, lost = two_sum(x, -margin)
        rest, lost = two_sum(rest, lost)
        last = last + lost
    if beta is not None or margin is not None:
        total = x + rest
        finite = lax.is_finite(total)
        rest = lax.select(finite, rest - (total - x) + last, jnp.zeros_like(x))
        x = lax.select(finite, total, x)
    # A subnormal x is 0 or not, as the compiler likes, at each of its comparisons with 0.
    x = choose(less(lax.abs(x), float(jnp.finfo(x.dtype).tiny)), 0.0, x, x)
    return _Argument(x, rest, saturate(d), *scaled)


def _weights(beta: Array | None, at: _Argument, of_beta: int, of_d: int) -> tuple[Array, ...]:
    """Factors with powers of beta and d, of which one may be as large as the other is small."""
    if beta is None:
        return (at.d,) * of_d
    pairs = min(of_beta, of_d)
    return (at.scaled,) * pairs + (beta,) * (of_beta - pairs) + (at.d,) * (of_d - pairs)


def _of_argument(
    order: int, x: Array, rest: Array, s: Array | None, weights: tuple[Array, ...]
) -> Array:
    """A derivative of $g$ by $x$, times weights."""
    positive = less(0.0, x)
    tail = Tail(lax.abs(x), signed(positive, rest))
    if order > 1:
        if order == 2:
            return tail.sigmoid_derivative(*weights)
        return functools.reduce(jnp.multiply, weights, _sigmoid.nth_derivative(order - 1)(x))
    wrong, right, lost = _shares(x, s)
    if order == 0:
        return add(tail.log1p(), product_or_0(tail.a, wrong))
    slope = tail.excess(wrong, right, lost)
    if weights:
        weight = functools.reduce(jnp.multiply, weights)
        far = weight * wrong - tail.times(weight * right)
        slope = lax.select(tail.is_far, far, weight * slope)
    return signed(positive, slope)


def _shares(x: Array, s: Array | None) -> tuple[Array, Array, Array | None]:
    """What the label gives to the side on which $x$ is not, to the other one, and, for the
    difference of them as `Tail.excess` forms it, what rounding took from 1 - s."""
    if s is None:
        positive = less(0.0, x)
        return choose(positive, 0.0, 1.0, x), choose(positive, 1.0, 0.0, x), None
    rest, lost = two_sum(-s, jnp.ones_like(s))
    share = lax.select(x > 0, s, rest)
    return share, lax.select(x > 0, rest, s), lax.select(x > 0, -lost * lax.exp(-x), lost)


def _mixed(at: _Argument, s: Array | None) -> Array:
    r"""$g' + \beta d\,g''$: the derivative by the difference and by $\beta$.

    Over the denominator $(1 + t)^2$, which both have, it is a sum of two products. It has roots
    where neither product is small, so that all rounding errors are put back.
    """
    positive = at.x > 0
    tail = Tail(lax.abs(at.x), lax.select(positive, at.rest, -at.rest))
    wrong, right, lost_share = _shares(at.x, s)
    missed, lost_missed = two_product(right, tail.t)
    excess, rest = two_sum(wrong, -missed)
    rest = rest - (lost_missed + right * tail.rest)
    if lost_share is not None:
        rest = rest + lost_share
    whole, lost_whole = two_sum(tail.t, jnp.ones_like(tail.t))
    first, lost_first = two_product(signed(positive, excess), whole)
    second, lost_second = two_product(at.scaled, tail.t)
    lost_first = lost_first + signed(positive, excess * (lost_whole + tail.rest) + rest * whole)
    lost_second = lost_second + (at.scaled * tail.rest + at.rest_of_scaled * tail.t)
    near = (first + second) + (lost_first + lost_second)
    far = signed(positive, wrong) + tail.times(at.scaled - signed(positive, right))
    return lax.select(tail.is_far, far, near) / (1 + tail.t * (2 + tail.t))


@checked(beta=(0.0, LARGEST), label_smoothing=(0.0, 1.0))
@compiled("axis")
def preference_loss(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    beta: ArrayLike = 1.0,
    margin: ArrayLike = 0.0,
    label_smoothing: ArrayLike = 0.0,
    where: ArrayLike | None = None,
    axis: Axis = None,
) -> Array:
    r"""Preference loss $-\log \sigma(x)$ with $x = \beta\,(chosen - rejected) - m$.

    The negative log-likelihood of the model of Bradley and Terry, in which the chosen answer wins
    with probability $\sigma(x)$. What the scores are makes it

    * the loss of a reward model: rewards, $\beta = 1$;
    * DPO: $\log \pi(answer) - \log \pi_{ref}(answer)$, so that $\beta$ times a score is the
      implicit reward; the share of pairs with $chosen > rejected$ is its accuracy;
    * SimPO: log-probabilities divided by the answers' lengths, with a margin.

    `sequence_log_prob` computes them; docs/preferences.md compares the methods.
    (IPO is no function of a sigmoid: $(chosen - rejected - \frac{1}{2\beta})^2$ of DPO's scores.)
    What rounding takes from the difference is put back: in float32 a log-probability of a long
    answer is a number of some hundreds, of which an ulp is 3e-5 of the loss of a pair that is
    far on the right side. Every partial derivative is a closed form, as accurate as the
    cross-entropy's.

    Args:
      chosen, rejected: real, of shapes that broadcast together, usually `[batch]`; their joint
        dtype is the result's. 16-bit is computed in float32.
      beta: $\beta \ge 0$; broadcasts.
      margin: $m$, by which the chosen score shall lead; broadcasts.
      label_smoothing: $\epsilon$ in [0, 1], the share of pairs that are labelled the wrong way:
        $-(1-\epsilon) \log \sigma(x) - \epsilon \log \sigma(-x)$ (conservative DPO). The label
        itself becomes $1 - \epsilon$, where the cross-entropy's would become $1 - s/2$.
      where: boolean; entries where it is False count 0 and get gradient 0, even if they hold NaN.
      axis: axis or axes to sum over; None leaves every pair for itself.

    Returns:
      Array of the joint shape less `axis`. A pair of equal infinite scores counts as a tie.

    Raises:
      TypeError: if an argument is not a real number or array, or `where` is not boolean.
      ValueError: if shapes do not broadcast, or `beta` or `label_smoothing`, known outside
        `jit`, is outside its range.

    Example:
      >>> import jax, sigjax
      >>> loss = sigjax.losses.preference_loss
      >>> print(f"{loss(-300.0, -305.0, beta=0.1):.4f}")
      0.4741
      >>> print(f"{jax.grad(loss)(-300.0, -305.0, beta=0.1):.5f}")
      -0.03775

    References:
      Bradley & Terry 1952, Biometrika 39:324-345.
      Rafailov, Sharma, Mitchell, Ermon, Manning & Finn 2023, Direct Preference Optimization
      (arXiv:2305.18290), equation 7.
      Meng, Xia & Chen 2024, SimPO (arXiv:2405.14734), equation 6.
    """

    def given_or_none(value: ArrayLike, default: float) -> ArrayLike | None:
        return None if isinstance(value, float) and value == default else value

    beta_, margin_ = given_or_none(beta, 1.0), given_or_none(margin, 0.0)
    smoothing = given_or_none(label_smoothing, 0.0)
    given = elements(
        "preference_loss",
        {"chosen": chosen, "rejected": rejected},
        {"beta": beta_, "margin": margin_, "label_smoothing": smoothing},
        where=where,
    )
    loss = _preference(beta_ is not None, margin_ is not None, smoothing is not None)
    return given.reduce(loss(*given.arguments), axis)
