"""The functions of the family and their first two derivatives, in mpmath.

Definitions, with as many digits as the caller sets (`mpmath.workdps`); where one would cancel
at any precision the equivalent in expm1 or log1p stands instead.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import mpmath as mp

Real: TypeAlias = Any  # mpmath has no types
Function = Callable[[Real], Real]


def _sigmoid(x: Real) -> Real:
    return 1 / (1 + mp.exp(-x))


def _sigmoid_first(x: Real) -> Real:
    return mp.exp(-x) / (1 + mp.exp(-x)) ** 2


def _sigmoid_second(x: Real) -> Real:
    return mp.exp(-x) * mp.expm1(-x) / (1 + mp.exp(-x)) ** 3


def _softplus(x: Real) -> Real:
    return mp.log1p(mp.exp(x))


def _log1mexp(x: Real) -> Real:
    return mp.log(-mp.expm1(-x)) if x < 1 else mp.log1p(-mp.exp(-x))


def _log1mexp_second(x: Real) -> Real:
    return -mp.exp(-x) / mp.expm1(-x) ** 2


def _softplus_inverse(y: Real) -> Real:
    return mp.log(mp.expm1(y))


def _softplus_inverse_first(y: Real) -> Real:
    return -1 / mp.expm1(-y)


def _hazard(p: Real) -> Real:
    return -mp.log1p(-p)


def _cloglog_inverse_first(x: Real) -> Real:
    return mp.exp(x - mp.exp(x))


def _focal_of_1(x: Real) -> Real:
    return _sigmoid(-x) ** 2 * _softplus(-x)


def _focal_of_1_first(x: Real) -> Real:
    return -(_sigmoid(-x) ** 2) * (2 * _sigmoid(x) * _softplus(-x) + _sigmoid(-x))


def _minus(f: Function) -> Function:
    return lambda x: -f(x)


def _mirror(f: Function) -> Function:
    return lambda x: f(-x)


# name: value, first and, but for the focal loss, second derivative
REFERENCES: dict[str, tuple[Function, ...]] = {
    "sigmoid": (_sigmoid, _sigmoid_first, _sigmoid_second),
    "log_sigmoid": (_minus(_mirror(_softplus)), _mirror(_sigmoid), _minus(_sigmoid_first)),
    "log1m_sigmoid": (_minus(_softplus), _minus(_sigmoid), _minus(_sigmoid_first)),
    "softplus": (_softplus, _sigmoid, _sigmoid_first),
    "softplus_inverse": (_softplus_inverse, _softplus_inverse_first, _log1mexp_second),
    "silu": (
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) + x * _sigmoid_first(x),
        lambda x: 2 * _sigmoid_first(x) + x * _sigmoid_second(x),
    ),
    "logit": (
        lambda p: mp.log(p / (1 - p)),
        lambda p: 1 / (p * (1 - p)),
        lambda p: (2 * p - 1) / (p * (1 - p)) ** 2,
    ),
    "log1mexp": (_log1mexp, lambda x: 1 / mp.expm1(x), _log1mexp_second),
    "logitexp": (
        _minus(_mirror(_softplus_inverse)),
        _mirror(_softplus_inverse_first),
        _minus(_mirror(_log1mexp_second)),
    ),
    "logit1mexp": (
        _mirror(_softplus_inverse),
        _minus(_mirror(_softplus_inverse_first)),
        _mirror(_log1mexp_second),
    ),
    "log_cosh": (
        lambda x: mp.log1p(2 * mp.sinh(x / 2) ** 2),
        mp.tanh,
        lambda x: 1 / mp.cosh(x) ** 2,
    ),
    "cloglog": (
        lambda p: mp.log(_hazard(p)),
        lambda p: 1 / ((1 - p) * _hazard(p)),
        lambda p: (_hazard(p) - 1) / ((1 - p) * _hazard(p)) ** 2,
    ),
    "cloglog_inverse": (
        lambda x: -mp.expm1(-mp.exp(x)),
        _cloglog_inverse_first,
        lambda x: -_cloglog_inverse_first(x) * mp.expm1(x),
    ),
    "tanh_from_sigmoid": (
        mp.tanh,
        lambda x: 1 / mp.cosh(x) ** 2,
        lambda x: -2 * mp.tanh(x) / mp.cosh(x) ** 2,
    ),
    "sigmoid_linear": (lambda x: (x + 2) / 4, lambda x: mp.mpf(1) / 4, lambda x: mp.mpf(0)),
    "hard_sigmoid": (
        lambda x: min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6,
        lambda x: mp.mpf(abs(x) < 3) / 6,
        lambda x: mp.mpf(0),
    ),
    "cross_entropy_of_1": (_mirror(_softplus), _minus(_mirror(_sigmoid)), _sigmoid_first),
    "cross_entropy_of_0": (_softplus, _sigmoid, _sigmoid_first),
    "focal_of_1": (_focal_of_1, _focal_of_1_first),
}
