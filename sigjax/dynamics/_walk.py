"""A walk along a branch, from its start to where it ends."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from ._branch import CROSSING, LOST, NO_SCALE, NO_START, USED
from ._corrector import Corrected, correct
from ._linearised import Residual, metric
from ._scale import outlook
from ._step import Course, Walk, advance


class Settings(NamedTuple):
    """What `continuation` was asked for."""

    residual: Residual
    low: Array
    high: Array
    step: float
    max_step: float
    max_points: int
    direction: int
    grows: bool


class Row(NamedTuple):
    """What is kept of a point: see `Walk`; the tangent is in the units of the point."""

    point: Array
    tangent: Array
    scale: Array
    sign: Array
    tolerance: Array


def walk(settings: Settings, start: Array, tangent: Array, scale: Array) -> tuple[Walk, Row, Array]:
    """How a walk ended, its points `[points, ...]`, and how many there are.

    Args:
      settings: of all walks.
      start: `[variables + 1]`, near a solution; on one if its tangent is given.
      tangent: `[variables + 1]`, or zeros for that of the branch that leads through the start.
      scale: `[variables + 1]`, 0 where it is not known.
    """
    given = jnp.any(tangent != 0)
    first, reason, course = _begin(settings, start, tangent, scale, given)

    def goes_on(state: tuple[Walk, Array, Array]) -> Array:
        walk, _, count = state
        return (walk.reason == USED) & (count < settings.max_points)

    def go(state: tuple[Walk, Array, Array]) -> tuple[Walk, Array, Array]:
        walk, rows, count = state
        walk = advance(course, walk)
        # A row that is not kept is written too, and not counted.
        rows = rows.at[count].set(ravel_pytree(_row(walk))[0])
        return walk, rows, count + (walk.reason != LOST).astype(count.dtype)

    begun = (reason == USED).astype(jnp.int32)
    # One array, since a program of many small ones takes long to compile.
    row, unravel = ravel_pytree(_row(first))
    rows = jnp.zeros((settings.max_points, len(row)), row.dtype).at[0].set(row)
    last, rows, count = lax.while_loop(goes_on, go, (first, rows, begun))
    kept = jnp.arange(settings.max_points, dtype=count.dtype)
    kept = jnp.clip(kept, 0, jnp.maximum(count - 1, 0))
    return last, jax.vmap(unravel)(rows[kept]), count


def _begin(
    settings: Settings, start: Array, tangent: Array, scale: Array, given: Array
) -> tuple[Walk, Array, Course]:
    """The first point, and what the walk keeps to."""
    residual, dtype = settings.residual, start.dtype
    view = outlook(residual, start, settings.low, settings.high)
    scale = jnp.where(scale > 0, scale, view.scale)
    known = jnp.all(scale != 0)  # NaN too: that start is no solution
    scale = jnp.where(scale > 0, scale, 1)

    def settle(point: Array, normal: Array) -> tuple[Array, Corrected]:
        found = correct(residual, point, normal, scale)
        return jnp.where((found.excess <= 1) & ~given, found.point, point), found

    # At the parameter that was given, if that can be; at a fold only beside it.
    units = metric(scale)
    beside = view.tangent / units
    beside = beside / jnp.linalg.norm(beside)
    normals = jnp.stack([jnp.zeros_like(start).at[-1].set(1), beside])
    start, both = lax.scan(settle, start, normals)
    found = jax.tree.map(lambda values: values[-1], both)

    own = jnp.where(jnp.isfinite(found.tangent), found.tangent, beside)
    own = own * _heading(own, settings.direction)
    tangent = jnp.where(given, tangent / units, own)
    tangent = tangent / jnp.linalg.norm(tangent)
    # At a crossing the determinant is 0, and its sign is rounding.
    sign = jnp.where(given, 0, found.sign * jnp.sign(own @ beside))
    reason = jnp.where(found.excess <= 1, USED, NO_START)
    reason = jnp.where(given, USED, jnp.where(view.crossing, CROSSING, reason))
    reason = jnp.where(known, reason, NO_SCALE).astype(jnp.int32)

    step, longest = (jnp.asarray(x, dtype) for x in (settings.step, settings.max_step))
    first = Walk(
        point=start,
        tangent=tangent,
        scale=scale,
        sign=sign,
        tolerance=found.tolerance,
        excess=found.excess,
        step=step,
        length=jnp.zeros((), dtype),
        reason=reason,
    )
    course = Course(
        residual=residual,
        start=start,
        tangent=tangent * units,
        low=settings.low,
        high=settings.high,
        step=step,
        max_step=longest,
        grows=settings.grows,
    )
    return first, reason, course


def _heading(tangent: Array, direction: int) -> Array:
    """The sign that makes a tangent lead towards larger parameters, or smaller ones.

    On a fold, where the parameter turns, of the component that moves most.
    """
    rounding = jnp.sqrt(jnp.finfo(tangent.dtype).eps)
    most = tangent[jnp.argmax(jnp.abs(tangent))]
    guide = jnp.where(jnp.abs(tangent[-1]) > rounding, tangent[-1], most)
    return jnp.where(guide < 0, -direction, direction).astype(tangent.dtype)


def _row(walk: Walk) -> Row:
    tangent = walk.tangent * metric(walk.scale)
    return Row(walk.point, tangent, walk.scale, walk.sign, walk.tolerance)
