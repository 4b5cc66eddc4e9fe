r"""Fits the polynomials of the exponential and of the inverse tangent, and shows their errors.

    python -m experiments.tools.coefficients

The functions of `sigjax.functional` are made of two tails, which are smooth and small:

- $(e^r - 1 - r)/r^2$, with $|r| \le \ln(2)/2$, where the argument reduction of Cody & Waite
  leaves r;
- $(2 \operatorname{artanh}(z/2) - z)/z^3$ as a function of $w = z^2$, with $w \le 4/9$.

Chebyshev's fit is nearly the best polynomial in the largest absolute error (`mpmath.chebyfit`). For
float32's exponential, whose five coefficients leave no digit to spare, it is not good enough: there
the first coefficient is fixed at 1/2, and the largest error of $e^r$, relative to it, is as small
as it can be (Remez's exchange algorithm).

What is printed is, for each fit, what `sigjax.functional` has, what is fitted anew, and the largest
error of both.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import mpmath as mp

from sigjax.functional import _exponentials

Function = Callable[[mp.mpf], mp.mpf]

_DIGITS = 40
_GRID = 2_000  # steps over which an error is looked for: its extrema are parabolas, met to 1e-5


def exp_tail(r: mp.mpf) -> mp.mpf:
    """$(e^r - 1 - r)/r^2$, by its series where the quotient loses digits."""
    if abs(r) > mp.mpf(10) ** -8:
        return (mp.expm1(r) - r) / r**2
    return mp.mpf(1) / 2 + r / 6 + r**2 / 24


def atanh_tail(w: mp.mpf) -> mp.mpf:
    """(2 artanh(z/2) - z)/z^3 for w = z^2, by its series where the quotient loses digits."""
    if w > mp.mpf(10) ** -8:
        z = mp.sqrt(w)
        return (2 * mp.atanh(z / 2) - z) / z**3
    return mp.mpf(1) / 12 + w / 80 + w**2 / 448


class Fit(NamedTuple):
    """A polynomial, highest power first, with its largest error and that of the one in use."""

    name: str
    coefficients: tuple[float, ...]
    kept: tuple[float, ...]
    error: float
    kept_error: float


def fits() -> list[Fit]:
    """All fits of `sigjax.functional`."""
    with mp.workdps(_DIGITS):
        edge = mp.log(2) / 2
        # Rounding puts a reduced argument a little outside of its interval.
        beyond = mp.mpf("0.001")
        found = []
        for dtype, constants in _exponentials._FORMATS.items():
            kept = constants.exp_tail
            weight: Function
            if dtype == "float32":
                reach, fitted, weight = edge, _best_exponential(edge), _relative_to_exp
            else:
                reach, weight = edge + beyond, _evenly
                fitted = _chebyshevs(exp_tail, (-reach, reach), len(kept))
            found.append(_fit(f"{dtype}: exp", exp_tail, weight, (-reach, reach), fitted, kept))
            kept, reach = constants.atanh_tail, mp.mpf(4) / 9 + beyond
            interval = mp.mpf(0), reach
            fitted = _chebyshevs(atanh_tail, interval, len(kept))
            found.append(_fit(f"{dtype}: artanh", atanh_tail, _evenly, interval, fitted, kept))
    return found


def _chebyshevs(function: Function, interval: tuple[mp.mpf, mp.mpf], powers: int) -> list[mp.mpf]:
    with warnings.catch_warnings():
        # mpmath 1.4 offers the other order of coefficients, 1.3 knows no other than this.
        warnings.simplefilter("ignore", DeprecationWarning)
        return mp.chebyfit(function, list(interval), powers)


def _value(coefficients: Sequence[mp.mpf | float], x: mp.mpf) -> mp.mpf:
    """Of a polynomial, highest power first."""
    total = mp.mpf(0)
    for coefficient in coefficients:
        total = total * x + coefficient
    return total


def _evenly(_: mp.mpf) -> mp.mpf:
    return mp.mpf(1)


def _relative_to_exp(r: mp.mpf) -> mp.mpf:
    """What an error of the tail is of $e^r$."""
    return r**2 * mp.exp(-r)


def _fit(
    name: str,
    function: Function,
    weight: Function,
    interval: tuple[mp.mpf, mp.mpf],
    fitted: Sequence[mp.mpf],
    kept: tuple[float, ...],
) -> Fit:
    def largest(coefficients: Sequence[mp.mpf | float]) -> float:
        errors = (abs(weight(x) * (_value(coefficients, x) - function(x))) for x in _grid(interval))
        return float(max(errors))

    return Fit(name, tuple(map(float, fitted)), kept, largest(fitted), largest(kept))


def _grid(interval: tuple[mp.mpf, mp.mpf]) -> list[mp.mpf]:
    low, high = interval
    return [low + (high - low) * i / _GRID for i in range(_GRID + 1)]


def _best_exponential(edge: mp.mpf) -> list[mp.mpf]:
    """Four coefficients above 1/2 with the smallest largest error of $e^r$ relative to it."""

    def rest(r: mp.mpf) -> mp.mpf:
        if abs(r) > mp.mpf(10) ** -8:
            return (exp_tail(r) - mp.mpf(1) / 2) / r
        return mp.mpf(1) / 6 + r / 24

    def weight(r: mp.mpf) -> mp.mpf:
        # At 0 no coefficient changes e^r: a weight of nearly 0 keeps the equations solvable.
        return (abs(r) ** 3 + mp.mpf(10) ** -14) * mp.exp(-r)

    return [*remez(rest, weight, (-edge, edge), powers=4), mp.mpf(1) / 2]


def remez(
    function: Function, weight: Function, interval: tuple[mp.mpf, mp.mpf], powers: int
) -> list[mp.mpf]:
    """The polynomial, highest power first, whose largest weighted error is the smallest.

    Args:
      function: what it stands for.
      weight: positive, multiplies the error.
      interval: where.
      powers: how many coefficients.

    Raises:
      ArithmeticError: if the exchange does not settle.

    References:
      Remez 1934, Comptes rendus 199:337-340; Cheney 1966, Introduction to Approximation Theory,
      chapter 3.
    """
    low, high = interval
    # Extrema of Chebyshev's polynomial are near those of the error.
    extrema = [
        (low + high - (high - low) * mp.cos(mp.pi * i / powers)) / 2 for i in range(powers + 1)
    ]
    for _ in range(30):
        rows = [
            [x ** (powers - 1 - j) for j in range(powers)] + [(-1) ** i / weight(x)]
            for i, x in enumerate(extrema)
        ]
        *coefficients, level = mp.lu_solve(mp.matrix(rows), mp.matrix(list(map(function, extrema))))
        errors = [(x, weight(x) * (function(x) - _value(coefficients, x))) for x in _grid(interval)]
        peaks = _peaks(errors, powers + 1)
        if max(abs(error) for _, error in errors) < abs(level) * (1 + mp.mpf(10) ** -6):
            return list(coefficients)
        extrema = [x for x, _ in peaks]
    raise ArithmeticError("the exchange of extrema did not settle")


def _peaks(errors: Sequence[tuple[mp.mpf, mp.mpf]], count: int) -> list[tuple[mp.mpf, mp.mpf]]:
    """The largest errors of alternating sign, as many as are asked for."""
    peaks: list[tuple[mp.mpf, mp.mpf]] = []
    for x, error in errors:
        if not peaks or (error > 0) != (peaks[-1][1] > 0):
            peaks.append((x, error))
        elif abs(error) > abs(peaks[-1][1]):
            peaks[-1] = x, error
    while len(peaks) > count:
        # Only an end can go without two of the same sign becoming neighbours.
        peaks.pop(0 if abs(peaks[0][1]) < abs(peaks[-1][1]) else -1)
    if len(peaks) < count:
        raise ArithmeticError(f"{len(peaks)} extrema, {count} are needed")
    return peaks


def main() -> int:
    """Prints every fit; 0."""
    for fit in fits():
        print(f"{fit.name}: largest error in use {fit.kept_error:.3e}, fitted {fit.error:.3e}")
        for kept, fitted in zip(fit.kept, fit.coefficients, strict=True):
            print(f"  {kept!r:<26} {fitted!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
