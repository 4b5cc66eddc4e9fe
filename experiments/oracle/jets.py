"""Numbers that carry their partial derivatives to second order, in mpmath.

A definition written with them gives the truth of its value, gradient and Hessian at once and
without a step size: only the digits of its own cancellation are lost, which the functions here
avoid as `reference.py` does. Nothing of `sigjax` is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import mpmath as mp

Real: TypeAlias = Any  # mpmath has no types


class Jet:
    r"""$f$, $\partial_i f$ and $\partial_i \partial_j f$, $i \le j$, at one point.

    Attributes:
      value: the number.
      first: its partial derivatives.
      second: those of second order, the pairs (i, j) in the order of
        `itertools.combinations_with_replacement`.
    """

    __slots__ = ("first", "second", "value")

    def __init__(self, value: Real, first: Iterable[Real], second: Iterable[Real]):
        self.value = value
        self.first = tuple(first)
        self.second = tuple(second)

    def partial(self, orders: Sequence[int]) -> Real:
        """The partial derivative of a multi-index, such as (1, 0, 1)."""
        along = [i for i, order in enumerate(orders) for _ in range(order)]
        if not along:
            return self.value
        if len(along) == 1:
            return self.first[along[0]]
        return self.second[_pairs(len(self.first)).index((along[0], along[1]))]

    def lift(self, value: Real, first: Real, second: Real) -> Jet:
        """A function of one variable at this number, from its value and two derivatives."""
        pairs = zip(_pairs(len(self.first)), self.second, strict=True)
        return Jet(
            value,
            [first * d for d in self.first],
            [first * dd + second * (self.first[i] * self.first[j]) for (i, j), dd in pairs],
        )

    def _joined(self, other: Jet | Real) -> Jet:
        if isinstance(other, Jet):
            return other
        return Jet(mp.mpf(other), [0] * len(self.first), [0] * len(self.second))

    def __add__(self, other: Jet | Real) -> Jet:
        other = self._joined(other)
        return Jet(
            self.value + other.value,
            [a + b for a, b in zip(self.first, other.first, strict=True)],
            [a + b for a, b in zip(self.second, other.second, strict=True)],
        )

    def __mul__(self, other: Jet | Real) -> Jet:
        other = self._joined(other)
        u, v, du, dv = self.value, other.value, self.first, other.first
        pairs = zip(_pairs(len(du)), self.second, other.second, strict=True)
        return Jet(
            u * v,
            [a * v + u * b for a, b in zip(du, dv, strict=True)],
            [a * v + (du[i] * dv[j] + du[j] * dv[i]) + u * b for (i, j), a, b in pairs],
        )

    def __neg__(self) -> Jet:
        return self * -1

    def __sub__(self, other: Jet | Real) -> Jet:
        return self + -1 * other

    def __rsub__(self, other: Real) -> Jet:
        return other + -self

    def __truediv__(self, other: Jet | Real) -> Jet:
        return self * reciprocal(self._joined(other))

    def __rtruediv__(self, other: Real) -> Jet:
        return other * reciprocal(self)

    __radd__ = __add__
    __rmul__ = __mul__

    # Definitions choose their form by the value.
    def __lt__(self, other: Jet | Real) -> bool:
        return bool(self.value < getattr(other, "value", other))

    def __gt__(self, other: Jet | Real) -> bool:
        return bool(self.value > getattr(other, "value", other))

    def __le__(self, other: Jet | Real) -> bool:
        return not self > other

    def __ge__(self, other: Jet | Real) -> bool:
        return not self < other


_PAIRS: dict[int, list[tuple[int, int]]] = {}


def _pairs(count: int) -> list[tuple[int, int]]:
    if count not in _PAIRS:
        _PAIRS[count] = list(itertools.combinations_with_replacement(range(count), 2))
    return _PAIRS[count]


def variables(point: Sequence[float]) -> list[Jet]:
    """The arguments of a function at a point."""
    count = len(point)
    return [
        Jet(mp.mpf(x), [int(i == j) for j in range(count)], [0] * len(_pairs(count)))
        for i, x in enumerate(point)
    ]


def _unary(derivatives: Callable[[Real], tuple[Real, Real, Real]]) -> Callable[[Any], Any]:
    def function(x: Jet | Real) -> Jet | Real:
        return x.lift(*derivatives(x.value)) if isinstance(x, Jet) else derivatives(mp.mpf(x))[0]

    return function


@_unary
def reciprocal(x: Real) -> tuple[Real, Real, Real]:
    """1/x."""
    inverse = 1 / x
    return inverse, -(inverse**2), 2 * inverse**3


@_unary
def exp(x: Real) -> tuple[Real, Real, Real]:
    """e^x."""
    y = mp.exp(x)
    return y, y, y


@_unary
def log(x: Real) -> tuple[Real, Real, Real]:
    """The natural logarithm."""
    return mp.log(x), 1 / x, -1 / x**2


@_unary
def log1p(x: Real) -> tuple[Real, Real, Real]:
    """log(1 + x)."""
    return mp.log1p(x), 1 / (1 + x), -1 / (1 + x) ** 2


@_unary
def sigmoid(x: Real) -> tuple[Real, Real, Real]:
    """1/(1 + e^-x)."""
    t = mp.exp(-abs(x))
    second = mp.sign(x) * t * mp.expm1(-abs(x)) / (1 + t) ** 3
    return (1 if x >= 0 else t) / (1 + t), t / (1 + t) ** 2, second


@_unary
def softplus(x: Real) -> tuple[Real, Real, Real]:
    """log(1 + e^x)."""
    t = mp.exp(-abs(x))
    return max(x, 0) + mp.log1p(t), (1 if x >= 0 else t) / (1 + t), t / (1 + t) ** 2


@_unary
def log1mexp(x: Real) -> tuple[Real, Real, Real]:
    """log(1 - e^-x) for positive x."""
    t, complement = mp.exp(-x), -mp.expm1(-x)
    return (
        mp.log(complement) if x < 1 else mp.log1p(-t),
        t / complement,
        -t / complement**2,
    )


@_unary
def log_cosh(x: Real) -> tuple[Real, Real, Real]:
    """log cosh x."""
    return mp.log1p(2 * mp.sinh(x / 2) ** 2), mp.tanh(x), 1 / mp.cosh(x) ** 2
