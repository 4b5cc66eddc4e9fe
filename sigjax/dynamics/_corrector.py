"""Newton's method across a branch."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ._linearised import Residual, linearise, metric

_MOST = 8
# Newton's method goes on below the tolerance while it still halves the residual: a step more costs
# little, and points are then as good as rounding allows.
_GOOD = 1 / 16


class Corrected(NamedTuple):
    """A point of the branch, and what is known there.

    Attributes:
      point: `[variables + 1]`.
      tangent: `[variables + 1]`, a unit vector, on the normal's side.
      sign: of the determinant of the linearised residual with the normal as its last row.
      tolerance: `[variables]`, of the residual.
      excess: the largest residual, in its tolerance: at most 1 if this is a solution.
      used: how many corrections were needed.
    """

    point: Array
    tangent: Array
    sign: Array
    tolerance: Array
    excess: Array
    used: Array


class _Iteration(NamedTuple):
    following: Array
    found: Corrected
    done: Array


def correct(residual: Residual, guess: Array, normal: Array, scale: Array) -> Corrected:
    """The solution in the plane through a guess, at right angles to a unit vector."""
    units = metric(scale)
    last = jnp.zeros_like(guess).at[-1].set(1)

    def iterate(state: _Iteration) -> _Iteration:
        point, before = state.following, state.found
        here = linearise(residual, point, scale)
        off = jnp.append(here.value, normal @ ((point - guess) / units))
        solution, sign = _solve(jnp.vstack([here.matrix, normal]), jnp.stack([off, last], axis=1))
        change, tangent = solution[:, 0], solution[:, 1]
        excess = here.excess()
        done = (excess <= _GOOD) | ((excess <= 1) & (2 * excess > before.excess))
        found = Corrected(
            point,
            tangent / jnp.linalg.norm(tangent),
            sign,
            here.tolerance * here.unit,
            excess,
            before.used + 1,
        )
        return _Iteration(jnp.where(done, point, point - units * change), found, done)

    def goes_on(state: _Iteration) -> Array:
        return ~state.done & (state.found.used <= _MOST)

    largest = jnp.full((), jnp.finfo(guess.dtype).max, guess.dtype)
    nothing = Corrected(
        guess, normal, jnp.zeros_like(largest), jnp.zeros_like(guess[:-1]), largest, jnp.int32(0)
    )
    start = _Iteration(guess, nothing, jnp.zeros((), bool))
    found = lax.while_loop(goes_on, iterate, start).found
    return found._replace(used=found.used - 1)


def _solve(matrix: Array, values: Array) -> tuple[Array, Array]:
    """The solution, and the sign of the determinant, of one factorisation."""
    factors, pivots, permutation = lax.linalg.lu(matrix)
    lower = lax.linalg.triangular_solve(
        factors, values[permutation], left_side=True, lower=True, unit_diagonal=True
    )
    solution = lax.linalg.triangular_solve(factors, lower, left_side=True, lower=False)
    swaps = jnp.sum(pivots != jnp.arange(len(pivots), dtype=pivots.dtype))
    sign = jnp.prod(jnp.sign(jnp.diagonal(factors)))
    return solution, jnp.where(swaps % 2 == 0, sign, -sign)
