"""Cross-entropy of a Bernoulli variable, from its logit."""

import functools

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional import _sigmoid
from ..functional._arithmetic import add, less, maximum, multiply, subtract
from ..functional._compiled import compiled
from ..functional._double_word import two_product, two_sum
from ._checked import LARGEST, checked
from ._elements import Axis, elements
from ._partials import Kernel, Orders, differentiable
from ._tail import Tail, product_or_0, saturate, signed

# With a = y + s (1/2 - y) for the smoothed label the loss is w a P + (1 - a) Q, where
# P = log(1 + e^-z) and Q = log(1 + e^z): linear in y, in w and in s. The larger of P and Q is the
# smaller plus |z|, and the kernels below choose by the sign of z before they add anything.


@functools.cache
def cross_entropy(weighted: bool = False, smoothed: bool = False, by_logit: int = 0) -> Kernel:
    r"""Returns the loss, or a derivative of it by the logit, as a differentiable function of
    $z, y$ and, where there are any, $w$ and $s$."""

    def partial(orders: Orders) -> Kernel | None:
        by_z, by_y, *others = orders
        by_w = others[0] if weighted else 0
        by_s = others[-1] if smoothed else 0
        if max(by_y, by_w, by_s) > 1:
            return None
        by_a = by_y or by_s
        if by_a and not weighted and by_z > 1:  # P - Q is -z
            return None

        def kernel(z: Array, y: Array, *parameters: Array) -> Array:
            w = parameters[0] if weighted else None
            s = parameters[-1] if smoothed else None
            if not by_a and not by_w:
                return _total(by_z, z, y, w, s)
            change = _of_positive(by_z, z) if by_w else _of_label(by_z, z, w)
            if not by_a:
                return _smooth(y, s)[0] * change
            if by_y and by_s:
                return -change
            if by_s:
                return (0.5 - y) * change
            return change if s is None else (1 - s) * change

        return kernel

    return differentiable(partial, (by_logit,) + (0,) * (1 + weighted + smoothed))


def _smooth(y: Array, s: Array | None) -> tuple[Array, Array | None]:
    """The label $(1-s) y + s/2$, and what rounding took from it."""
    if s is None:
        return y, None
    distance, lost_distance = two_sum(-y, jnp.full_like(y, 0.5))
    step, lost_step = two_product(s, distance)
    label, lost = two_sum(y, step)
    return label, lost + (lost_step + s * lost_distance)


def _masses(y: Array, w: Array | None, s: Array | None) -> tuple[Array, Array, Array | None, Array]:
    """$w a$ and $1 - a$, and what rounding took from each."""
    positive, rest = _smooth(y, s)
    negative, lost = two_sum(lax.neg(positive), jnp.ones_like(positive))
    if rest is not None:
        total, lost = negative, lost - rest
        negative = total + lost
        lost = lost - (negative - total)
    if w is not None:
        scaled, lost_scaled = two_product(w, positive)
        rest = lost_scaled if rest is None else lost_scaled + w * rest
        positive = scaled
    return positive, negative, rest, lost


def _total(order: int, z: Array, y: Array, w: Array | None, s: Array | None) -> Array:
    """A derivative by $z$ of $w a P + (1 - a) Q$."""
    if order > 1 and w is None:
        return _curvature(order, z)
    tail = Tail(lax.abs(z))
    positive, negative, rest_of_positive, rest_of_negative = _masses(y, w, s)
    both = () if w is None else (positive + negative,)
    if order > 1:
        return _curvature(order, z, *both)
    is_positive = less(0.0, z)
    wrong = lax.select(is_positive, negative, positive)
    if order == 0:
        return add(tail.log1p(*both), product_or_0(tail.a, wrong))
    right = lax.select(is_positive, positive, negative)
    if rest_of_positive is None:
        rest_of_positive = jnp.zeros_like(rest_of_negative)
    rest_of_wrong = lax.select(is_positive, rest_of_negative, rest_of_positive)
    rest_of_right = lax.select(is_positive, rest_of_positive, rest_of_negative)
    rest = subtract(rest_of_wrong, multiply(tail.t, rest_of_right))
    return signed(is_positive, tail.excess(wrong, right, rest))


def _of_positive(order: int, z: Array) -> Array:
    """A derivative of $P$."""
    tail = Tail(lax.abs(z))
    if order == 0:
        return tail.log1p() + maximum(saturate(-z), 0.0)
    if order == 1:
        return -lax.select(z > 0, tail.t, jnp.ones_like(z)) / tail.one_more
    return _curvature(order, z)


def _of_label(order: int, z: Array, w: Array | None) -> Array:
    """A derivative of $w P - Q$, which is the one of $(w - 1) P - z$."""
    if w is None:
        return lax.neg(saturate(z)) if order == 0 else lax.full_like(z, -1)
    tail = Tail(lax.abs(z))
    if order == 0:
        return _balance(tail, saturate(z), w)
    if order == 1:
        one = jnp.ones_like(w)
        near, far = lax.select(z > 0, one, w), lax.select(z > 0, w, one)
        return -(near + tail.times(far)) / tail.one_more
    return _curvature(order, z, w - 1)


def _balance(tail: Tail, z: Array, w: Array) -> Array:
    r"""$(w - 1) \log(1 + t)$ less $z$, or $w z$ for negative $z$, with all rounding errors."""
    log, lost_log = tail.log1p_in_two()
    excess, lost_excess = two_sum(w, -jnp.ones_like(w))
    first, lost_first = two_product(excess, log)
    second, lost_second = two_product(lax.select(z > 0, jnp.ones_like(w), w), z)
    rest = (lost_first - lost_second) + (excess * lost_log + lost_excess * log)
    far = tail.times(excess) - second
    return lax.select(tail.is_far, far, (first - second) + rest)


def _curvature(order: int, z: Array, *weights: Array) -> Array:
    """What $P$ and $Q$ have in common from the second derivative on."""
    if order == 2:
        return Tail(lax.abs(z)).sigmoid_derivative(*weights)
    return functools.reduce(jnp.multiply, weights, _sigmoid.nth_derivative(order - 1)(z))


@checked(pos_weight=(0.0, LARGEST), label_smoothing=(0.0, 1.0))
@compiled("axis", "check_labels")
def sigmoid_binary_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    where: ArrayLike | None = None,
    axis: Axis = None,
    check_labels: bool = False,
) -> Array:
    r"""Cross-entropy $-w\,y \log \sigma(z) - (1-y) \log(1 - \sigma(z))$ of logits $z$.

    Drop-in for `optax.losses.sigmoid_binary_cross_entropy`. The gradient is exactly
    $\sigma(z) - y$ ($w = 1$) and the Hessian $\sigma'(z)$, whatever the label; optax's Hessian
    is 0 at $z = -20$, $y = 1$. The derivative by a label is $-z$. Every partial derivative, by
    weights and smoothing too, is a closed form that subtracts before it multiplies: value,
    first and second are within 4, 5 and 6.5 ulp in float32 (4.5, 5.5 and 7.5 in float64) and
    rounded once in 16 bit; where two terms cancel, within that many ulp of the larger.

    Args:
      logits: real, shape `[...]`; their dtype is the result's. 16-bit is computed in float32.
      labels: probabilities of the positive class, of any real or boolean dtype; the shapes
        broadcast together.
      pos_weight: $w \ge 0$, the weight of positives; broadcasts, e.g. one a class.
      label_smoothing: $s$ in [0, 1]; labels become $(1-s) y + s/2$.
      where: boolean; entries where it is False count 0 and get gradient 0, even if they hold NaN.
      axis: axis or axes to sum over: the negative log-likelihood of independent labels. None
        leaves every entry for itself, as optax does.
      check_labels: whether to raise if a label that counts is outside [0, 1].

    Returns:
      Array of the joint shape less `axis`. An infinite logit costs 0 where it is right and
      infinity where it is wrong; the gradients are finite in both cases. On a mesh with explicit
      axes the arguments may be sharded differently, as for a product of them.

    Raises:
      TypeError: if an argument is not a real number or array, or `where` is not boolean.
      ValueError: if shapes do not broadcast, a parameter is outside its range, or
        `check_labels` finds a label outside [0, 1]. Under `jit` the latter is an error of
        `jax.experimental.checkify`, which the program has to be transformed with.

    Example:
      >>> import jax, sigjax
      >>> loss = sigjax.losses.sigmoid_binary_cross_entropy
      >>> print(f"{loss(-20.0, 1.0):.6f} {jax.grad(jax.grad(loss))(-20.0, 1.0):.5g}")
      20.000000 2.0612e-09

    References:
      Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2.2.
    """
    # 0 as written, not as computed: nothing is smoothed, and nothing need be multiplied.
    unsmoothed = isinstance(label_smoothing, float) and label_smoothing == 0
    smoothing = None if unsmoothed else label_smoothing
    given = elements(
        "sigmoid_binary_cross_entropy",
        {"logits": logits},
        {"labels": labels, "pos_weight": pos_weight, "label_smoothing": smoothing},
        where=where,
    )
    loss = cross_entropy(pos_weight is not None, smoothing is not None)
    return given.reduce(loss(*given.arguments), axis)
