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
        solution, sign = solve(jnp.vstack([here.matrix, normal]), jnp.stack([off, last], axis=1))
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


def solve(matrix: Array, values: Array) -> tuple[Array, Array]:
    """The solution, and the sign of the determinant, of one factorisation.

    By Householder reflections: pivots cost more to compile than all of the rest.
    """
    columns, weights = jnp.linalg.qr(matrix, mode="raw")
    factors = columns.T
    rotation = lax.linalg.householder_product(factors, weights)
    solution = lax.linalg.triangular_solve(factors, rotation.T @ values, left_side=True)
    # Each reflection turns the sign; one without a weight leaves all as it is.
    turns = jnp.where(weights[:-1] != 0, -1, 1).astype(factors.dtype)
    return solution, jnp.prod(turns) * jnp.prod(jnp.sign(jnp.diagonal(factors)))
