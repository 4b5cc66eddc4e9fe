"""The functions of the family and their first two derivatives, in float64.

They are written in a way of their own, with float64's exp, expm1 and log1p and without a word
of `sigjax`; `tests/experiments/oracle/test_truth.py` proves each against mpmath to a
relative 1e-12, also next to the roots. Arguments are numbers of 32 bits or less, as float64.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

Function = Callable[[Array], Array]

_FAR = 700.0  # beyond it every tail of a number of 32 bits is far below its smallest


def _tail(x: Array) -> tuple[Array, Array]:
    a = jnp.minimum(jnp.abs(x), _FAR)
    return a, jnp.exp(-a)


def _keep_nan(x: Array, value: Array) -> Array:
    return jnp.where(jnp.isnan(x), jnp.nan, value)


def sigmoid(x: Array) -> Array:
    _, t = _tail(x)
    return _keep_nan(x, jnp.where(x >= 0, 1.0, t) / (1 + t))


def sigmoid_first(x: Array) -> Array:
    _, t = _tail(x)
    return _keep_nan(x, t / (1 + t) ** 2)


def sigmoid_second(x: Array) -> Array:
    a, t = _tail(x)
    return _keep_nan(x, jnp.sign(x) * t * jnp.expm1(-a) / (1 + t) ** 3)


def softplus(x: Array) -> Array:
    _, t = _tail(x)
    return _keep_nan(x, jnp.maximum(x, 0.0) + jnp.log1p(t))


def _about(root: float, rest: float, x: Array, near: Function, far: Array, reach: float) -> Array:
    """`far`; near a root, `near(x - root)` plus `rest`, the value at the rounded root."""
    d = x - root
    return jnp.where(jnp.abs(d) < reach, rest + near(d), far)


# Roots to float64, with the function's value there (mpmath, 60 digits).
_SLOPE_ROOT, _SLOPE_REST = 1.2784645427610737, 1.3995343912896686e-16
_CURVATURE_ROOT, _CURVATURE_REST = 2.3993572805154675, 2.416278182818987e-16
_LN2, _LN2_REST = 0.6931471805599453, -4.6380936276925993e-17
_CLOGLOG_ROOT, _CLOGLOG_REST = 0.6321205588285577, -3.3784855259134225e-17


def silu(x: Array) -> Array:
    a, t = _tail(x)
    below = a * t / (1 + t)
    return _keep_nan(x, jnp.where(x >= 0, x - below, -below))


def silu_first(x: Array) -> Array:
    a, t = _tail(x)
    at_root = math.exp(-_SLOPE_ROOT)
    numerator = _about(
        _SLOPE_ROOT, _SLOPE_REST, a, lambda d: at_root * jnp.expm1(-d) - d, 1 - a + t, 0.1
    )
    below = numerator * t / (1 + t) ** 2
    return _keep_nan(x, jnp.where(x >= 0, 1 - below, below))


def silu_second(x: Array) -> Array:
    a, t = _tail(x)
    at_root = math.exp(-_CURVATURE_ROOT)
    numerator = _about(
        _CURVATURE_ROOT,
        _CURVATURE_REST,
        a,
        lambda d: (2 + _CURVATURE_ROOT) * at_root * jnp.expm1(-d) - d + d * at_root * jnp.exp(-d),
        2 - a + (2 + a) * t,
        0.1,
    )
    return _keep_nan(x, numerator * t / (1 + t) ** 3)


def _inside_unit(p: Array, value: Array) -> Array:
    return jnp.where((p >= 0) & (p <= 1), value, jnp.nan)


def logit(p: Array) -> Array:
    centre = 2 * jnp.arctanh(2 * p - 1)
    value = jnp.where(jnp.abs(p - 0.5) < 0.25, centre, jnp.log(p) - jnp.log1p(-p))
    return _inside_unit(p, value)


def logit_first(p: Array) -> Array:
    return _inside_unit(p, 1 / (p * (1 - p)))


def logit_second(p: Array) -> Array:
    return _inside_unit(p, (2 * p - 1) / (p * (1 - p)) ** 2)


def _positive(x: Array, value: Array) -> Array:
    return jnp.where(x >= 0, value, jnp.nan)


def log1mexp(x: Array) -> Array:
    _, t = _tail(x)
    small = jnp.log(-jnp.expm1(-jnp.minimum(jnp.abs(x), 1.0)))
    return _positive(x, jnp.where(x < 0.5, small, jnp.log1p(-t)))


def log1mexp_first(x: Array) -> Array:
    a, t = _tail(x)
    return _positive(x, -t / jnp.expm1(-a))


def log1mexp_second(x: Array) -> Array:
    a, t = _tail(x)
    return _positive(x, -t / jnp.expm1(-a) ** 2)


def softplus_inverse(y: Array) -> Array:
    far = jnp.where(y < 0.5, jnp.log(jnp.expm1(jnp.minimum(y, 1.0))), y + log1mexp(y))
    near = _about(_LN2, _LN2_REST, y, lambda d: jnp.log1p(2 * jnp.expm1(d)), far, 0.1)
    return _positive(y, near)


def softplus_inverse_first(y: Array) -> Array:
    a, _ = _tail(y)
    return _positive(y, -1 / jnp.expm1(-a))


def log_cosh(x: Array) -> Array:
    a = jnp.abs(x)
    small = jnp.log1p(2 * jnp.sinh(jnp.minimum(a, 1.0) / 2) ** 2)
    return _keep_nan(x, jnp.where(a < 0.5, small, a + jnp.log1p(jnp.exp(-2 * a)) - math.log(2)))


def tanh(x: Array) -> Array:
    a, _ = _tail(x)
    return _keep_nan(x, -jnp.sign(x) * jnp.expm1(-2 * a) / (1 + jnp.exp(-2 * a)))


def tanh_first(x: Array) -> Array:
    return 4 * sigmoid_first(2 * x)


def tanh_second(x: Array) -> Array:
    return 8 * sigmoid_second(2 * x)


def _minus_log(p: Array) -> Array:
    return -jnp.log1p(-p)


def _minus_q_log_q(p: Array) -> Array:
    return jnp.where(p == 1, 0.0, (1 - p) * _minus_log(p))


def _minus_log_less_1(p: Array) -> Array:
    return _about(
        _CLOGLOG_ROOT,
        _CLOGLOG_REST,
        p,
        lambda d: -jnp.log1p(-math.e * d),
        _minus_log(p) - 1,
        0.05,
    )


def cloglog(p: Array) -> Array:
    excess = _minus_log_less_1(p)
    near = jnp.log1p(jnp.where(jnp.abs(excess) < 0.2, excess, 0.0))
    return _inside_unit(p, jnp.where(jnp.abs(excess) < 0.1, near, jnp.log(_minus_log(p))))


def cloglog_first(p: Array) -> Array:
    return _inside_unit(p, 1 / _minus_q_log_q(p))


def cloglog_second(p: Array) -> Array:
    return _inside_unit(p, _minus_log_less_1(p) / _minus_q_log_q(p) ** 2)


def cloglog_inverse(x: Array) -> Array:
    return _keep_nan(x, -jnp.expm1(-jnp.exp(jnp.clip(x, -_FAR, _FAR))))


def cloglog_inverse_first(x: Array) -> Array:
    x = jnp.clip(x, -_FAR, _FAR)
    return jnp.exp(x - jnp.exp(x))


def cloglog_inverse_second(x: Array) -> Array:
    x = jnp.clip(x, -_FAR, 100.0)
    return -jnp.exp(x - jnp.exp(x)) * jnp.expm1(x)


def sigmoid_linear(x: Array) -> Array:
    return 0.5 + 0.25 * x


def hard_sigmoid(x: Array) -> Array:
    return jnp.clip(x + 3, 0.0, 6.0) / 6  # x/6 + 1/2 is not 0 at -3: XLA multiplies by 1/6


def hard_sigmoid_first(x: Array) -> Array:
    return _keep_nan(x, jnp.where(jnp.abs(x) < 3, 1 / 6, 0.0))


def focal_of_1(x: Array) -> Array:
    q = sigmoid(-x)
    return q * q * softplus(-x)


def focal_of_1_first(x: Array) -> Array:
    q, entropy = sigmoid(-x), softplus(jnp.clip(-x, -_FAR, _FAR))  # 0 times infinity at -inf
    return -q * q * (2 * sigmoid(x) * entropy + q)


def _constant(value: float) -> Function:
    return lambda x: _keep_nan(x, jnp.full_like(x, value))


def _minus(f: Function) -> Function:
    return lambda x: -f(x)


def _mirror(f: Function) -> Function:
    return lambda x: f(-x)


# name: value, first and, but for the focal loss, second derivative; losses are named after the
# label, and the focal loss is that of gamma 2
TRUTHS: dict[str, tuple[Function, ...]] = {
    "sigmoid": (sigmoid, sigmoid_first, sigmoid_second),
    "log_sigmoid": (_minus(_mirror(softplus)), _mirror(sigmoid), _minus(sigmoid_first)),
    "log1m_sigmoid": (_minus(softplus), _minus(sigmoid), _minus(sigmoid_first)),
    "softplus": (softplus, sigmoid, sigmoid_first),
    "softplus_inverse": (softplus_inverse, softplus_inverse_first, log1mexp_second),
    "silu": (silu, silu_first, silu_second),
    "logit": (logit, logit_first, logit_second),
    "log1mexp": (log1mexp, log1mexp_first, log1mexp_second),
    "logitexp": (
        _minus(_mirror(softplus_inverse)),
        _mirror(softplus_inverse_first),
        _minus(_mirror(log1mexp_second)),
    ),
    "logit1mexp": (
        _mirror(softplus_inverse),
        _minus(_mirror(softplus_inverse_first)),
        _mirror(log1mexp_second),
    ),
    "log_cosh": (log_cosh, tanh, tanh_first),
    "cloglog": (cloglog, cloglog_first, cloglog_second),
    "cloglog_inverse": (cloglog_inverse, cloglog_inverse_first, cloglog_inverse_second),
    "tanh_from_sigmoid": (tanh, tanh_first, tanh_second),
    "sigmoid_linear": (sigmoid_linear, _constant(0.25), _constant(0.0)),
    "hard_sigmoid": (hard_sigmoid, hard_sigmoid_first, _constant(0.0)),
    "cross_entropy_of_1": (_mirror(softplus), _minus(_mirror(sigmoid)), sigmoid_first),
    "cross_entropy_of_0": (softplus, sigmoid, sigmoid_first),
    "focal_of_1": (focal_of_1, focal_of_1_first),
}
