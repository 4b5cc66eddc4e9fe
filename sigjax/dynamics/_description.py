"""What the points of a walk say together: arclengths, folds, and branch points."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._arc import Arc, arc
from ._branch import CLOSED, Branch, SpecialPoints
from ._linearised import Residual, metric
from ._special_points import Located, locate
from ._step import Walk
from ._walk import Row

# Roundings of a unit tangent's component that is 0.
_ROUNDINGS = 64
_BEFORE, _AFTER = slice(None, -1), slice(1, None)
# Where a fold is this near a branch point, as a fraction of the step, the branch turns there.
_BESIDE = 0.1


def describe(residual: Residual, last: Walk, rows: Row, count: Array, crossing: Array) -> Branch:
    """The branch of a walk.

    Args:
      residual: its equations.
      last: how the walk ended.
      rows: its points `[points, ...]`.
      count: how many there are; the others repeat the last one.
      crossing: whether it began at a branch point, which is not listed again.
    """
    before, after = (jax.tree.map(lambda x, at=at: x[at], rows) for at in (_BEFORE, _AFTER))
    lengths = jax.vmap(_piece)(before, after).length
    ends = jnp.arange(1, len(rows.point), dtype=count.dtype)

    slopes = rows.tangent[:, -1] / rows.scale[:, -1]
    noise = _ROUNDINGS * jnp.finfo(slopes.dtype).eps
    slopes = jnp.where(jnp.abs(slopes) > noise, slopes, 0)
    # A branch that begins on a fold has it in its first piece.
    begins = ~crossing & (slopes[0] == 0) & (slopes[1] != 0)
    turns = (slopes[:-1] * slopes[1:] < 0).at[0].set((slopes[0] * slopes[1] < 0) | begins)
    crosses = rows.sign[:-1] * rows.sign[1:] < 0
    # It closed at the branch point where it began.
    crosses &= ~(crossing & (last.reason == CLOSED) & (ends + 1 == count))
    wanted = jnp.stack([turns, crosses]) & (ends < count)[None]

    found = _locate_all(residual, rows, wanted)
    folds, crossings = (jax.tree.map(lambda values, i=i: values[i], found) for i in (0, 1))
    # Where the parameter turns at a branch point, as on the other branch of a pitchfork, there is
    # no fold beside it.
    units = jax.vmap(metric)(rows.scale[:-1])
    beside = jnp.linalg.norm((folds.point - crossings.point) / units, axis=1)
    same = wanted[1] & crossings.vertical & (beside < _BESIDE * lengths)
    return Branch(
        states=rows.point[:, :-1],
        parameters=rows.point[:, -1],
        tangents=rows.tangent,
        lengths=jnp.concatenate([jnp.zeros_like(lengths[:1]), jnp.cumsum(lengths)]),
        tolerances=rows.tolerance,
        scales=rows.scale,
        turning_points=_special(wanted[0] & ~same, folds),
        crossings=_special(wanted[1], crossings),
        excess=last.excess,
        count=count,
        reason=last.reason,
    )


def _piece(before: Row, after: Row) -> Arc:
    """Between a point and the next, in units of the scale at the first."""
    units = metric(before.scale)
    first, last = before.tangent / units, after.tangent / units
    last = last / jnp.linalg.norm(last)
    return arc(before.point / units, after.point / units, first, last)


def _locate_all(residual: Residual, rows: Row, wanted: Array) -> Located:
    """The special points `[2, points - 1]`, one after the other, folds first."""
    kinds, pieces = wanted.shape
    nowhere = jnp.zeros((kinds * pieces, rows.point.shape[1]), rows.point.dtype)
    empty = Located(nowhere, nowhere, jnp.zeros(kinds * pieces, bool))

    def find(state: tuple[Array, Located]) -> tuple[Array, Located]:
        left, found = state
        place = jnp.argmax(left)
        before, after = (jax.tree.map(lambda x, i=i: x[place % pieces + i], rows) for i in (0, 1))
        one = locate(residual, _piece(before, after), before.scale, place >= pieces)
        found = jax.tree.map(lambda all, one: all.at[place].set(one), found, one)
        return left.at[place].set(False), found

    _, found = lax.while_loop(lambda state: jnp.any(state[0]), find, (wanted.reshape(-1), empty))
    return jax.tree.map(lambda values: values.reshape(kinds, pieces, *values.shape[1:]), found)


def _special(exists: Array, found: Located) -> SpecialPoints:
    return SpecialPoints(
        exists, found.point[:, :-1], found.point[:, -1], found.direction, found.vertical
    )
