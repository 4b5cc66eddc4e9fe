r"""Folds and branch points, each the regular root of a system of its own.

At both, $F_x$ has a left null vector $\psi$. At a branch point $\psi^T F_p = 0$ too: then $F = 0$
and $\psi^T [F_x\ F_p] = 0$ are one equation more than unknowns, and $F + b \psi = 0$ with
another unknown $b$, 0 at the root, makes up for it. So one system of $2n + 2$ equations does for
both: at a fold the last of them is $b = 0$. Newton's method converges quadratically (Moore & Spence
1980, SIAM J. Numer. Anal. 17:567-576; Govaerts 2000, Numerical Methods for Bifurcations of
Dynamical Equilibria, SIAM, chapters 4 and 5).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._arc import Arc
from ._linearised import Residual, linearise, metric

# From a guess half a step away or nearer; quadratic convergence from 0.1 takes 4 in float64.
_CORRECTIONS = 8
# A root further from the arc's middle than its length is another one's.
_REACH = 1.0


class Located(NamedTuple):
    """A special point `[variables + 1]`, the other branch's direction, whether one is vertical."""

    point: Array
    direction: Array
    vertical: Array


class _Newton(NamedTuple):
    """Point, null vector and excess in one vector; what the system is there, and its slopes."""

    unknowns: Array
    matrix: Array
    off: Array


def locate(residual: Residual, piece: Arc, scale: Array, crossing: Array) -> Located:
    """The fold, or the branch point where `crossing`, on a piece of a branch.

    Where Newton's method does not find it, the point of the arc that is nearest to it by cubic
    interpolation.
    """
    units = metric(scale)
    half = jnp.full_like(piece.length, 0.5)
    s = jnp.where(crossing, half, piece.turn())
    guess = piece.at(s)
    variables = len(guess) - 1
    here = linearise(residual, guess * units, scale)
    counted = jnp.ones_like(guess).at[-1].set(crossing.astype(guess.dtype))
    left = jnp.linalg.svd(here.matrix * counted[None], full_matrices=False)[0][:, -1]

    def value(point: Array) -> Array:
        point = point * units
        return residual(point[:-1], point[-1]).astype(point.dtype) / here.unit

    def system(unknowns: Array) -> tuple[Array, Array]:
        point, null, excess = jnp.split(unknowns, [variables + 1, 2 * variables + 1])
        slopes = null @ jax.jacfwd(value)(point)
        last = jnp.where(crossing, slopes[-1:], excess)
        unit = (null @ null - 1)[None]
        off = jnp.concatenate([value(point) + excess * null, slopes[:-1], last, unit])
        return off, off

    start = jnp.concatenate([guess, left, jnp.zeros_like(guess[:1])])

    def correct(round: Array | int, state: _Newton) -> _Newton:
        unknowns = state.unknowns - jnp.linalg.solve(state.matrix, state.off)
        point, null, excess = jnp.split(state.unknowns, [variables + 1, 2 * variables + 1])
        found = jnp.linalg.norm(point - piece.at(half)) <= _REACH * piece.length
        found &= jnp.all(jnp.abs(state.off[:variables] - excess * null) <= here.tolerance)
        settled = jnp.where(found, state.unknowns, start)
        unknowns = jnp.where(round <= _CORRECTIONS, unknowns, settled)
        return _Newton(unknowns, *jax.jacfwd(system, has_aux=True)(unknowns))

    # The first round changes nothing, the last one goes back to the guess if no root was found:
    # so one copy of the system, which holds the residual's second derivatives, is enough.
    nothing = _Newton(start, jnp.eye(len(start), dtype=start.dtype), jnp.zeros_like(start))
    root = lax.fori_loop(0, _CORRECTIONS + 2, correct, nothing)
    point = root.unknowns[: variables + 1]
    slopes, bends = jnp.split(root.matrix[: 2 * variables + 1, : variables + 1], [variables])

    # The two directions in the plane of null vectors for which psi F''[v, v] = 0.
    plane = jnp.linalg.svd(slopes, full_matrices=True)[2][-2:]
    directions = _isotropic(plane @ bends @ plane.T) @ plane
    along = jnp.abs(directions @ piece.slope(s))
    direction = jnp.where(along[0] < along[1], directions[0], directions[1])
    # The parameter's part of a vertical direction is rounding, which grows like a square root in
    # the point and once more in the null vectors.
    rounding = jnp.finfo(point.dtype).eps ** 0.25
    vertical = jnp.any(jnp.abs(directions[:, -1]) <= rounding)
    own = piece.slope(s) / piece.length
    return Located(point * units, jnp.where(crossing, direction, own) * units, vertical)


def _isotropic(form: Array) -> Array:
    r"""The two unit vectors `[2, 2]` on which an indefinite quadratic form is 0.

    In the direction $\theta$ it is $m + r \cos(2 \theta - \phi)$.
    """
    mean, difference = (form[0, 0] + form[1, 1]) / 2, (form[0, 0] - form[1, 1]) / 2
    radius = jnp.sqrt(difference**2 + form[0, 1] ** 2)
    angle = jnp.arctan2(form[0, 1], difference)
    half = jnp.arccos(jnp.clip(-mean / jnp.where(radius > 0, radius, 1), -1, 1))
    angles = (angle + jnp.stack([half, -half])) / 2
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
