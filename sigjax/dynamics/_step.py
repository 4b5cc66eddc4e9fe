"""Steps along a branch."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ._arc import Arc, arc
from ._branch import BOUND, CLOSED, LOST, USED
from ._corrector import Corrected, correct
from ._linearised import Residual, deviation, metric

# A point found in fewer corrections lets the step grow.
_EASY = 3
_GROWTH = 1.5
# A step over which the tangent turns by more than this cosine (18 degrees) is halved, and so is one
# whose end is further from where the tangent led than a circle's would be, with as much again for
# other curves: the branch is not left for a neighbour.
_TURN = 0.95
_DISTANCE = 0.3
# Steps below this fraction of the first one, or below rounding, are given up.
_SMALLEST = 1e-6
_ROUNDINGS = 32
# Where the slope of the parameter dips by a tenth inside a step, the step ends there: two folds may
# hide in it. Steps are not shortened so below a tenth of their length.
_DIP = 0.9
_HIDDEN = 0.1
# The cubic through the ends of a step is this near the branch in its middle, as a fraction of its
# length: ten times the error on a circle's arc of 18 degrees. If not, there is more to the branch
# than the ends show, or one of them is on a neighbour.
_MISFIT = 1e-3
# The start lies on an arc if it is this near, as a fraction of the arc's length: well above the
# arc's own error, well below the distance of a neighbour.
_NEAR = 0.01


class Walk(NamedTuple):
    """Where a walk along a branch stands.

    Attributes:
      point: `[variables + 1]`.
      tangent: `[variables + 1]`, a unit vector.
      scale: `[variables + 1]`.
      sign: of the determinant, see `Corrected`.
      tolerance: `[variables]`, of the residual.
      excess: of the last point that was tried, see `Corrected`.
      step: length of the next one.
      length: travelled so far.
      reason: why the walk ended; USED while it goes on.
    """

    point: Array
    tangent: Array
    scale: Array
    sign: Array
    tolerance: Array
    excess: Array
    step: Array
    length: Array
    reason: Array


class Course(NamedTuple):
    """What a walk keeps to: its start, its limits, and whether the scale grows with the branch."""

    residual: Residual
    start: Array
    tangent: Array
    low: Array
    high: Array
    step: Array
    max_step: Array
    grows: bool


class _Trial(NamedTuple):
    """A step to try, of a length; and what was found by the one before it."""

    guess: Array
    normal: Array
    length: Array
    to_bound: Array
    accepted: Array
    found: Corrected


def advance(course: Course, walk: Walk) -> Walk:
    """The next point, with as short a step as it needs."""
    trial = _try(course, walk)
    found = trial.found
    piece = _piece(walk, found)
    closed = _closes(course, walk, piece) & ~trial.to_bound
    point = jnp.where(closed, course.start, found.point)
    tangent = jnp.where(closed, course.tangent, found.tangent * metric(walk.scale))
    scale = jnp.maximum(walk.scale, jnp.abs(point)) if course.grows else walk.scale
    tangent = tangent / metric(scale)
    reason = jnp.where(trial.to_bound, BOUND, jnp.where(closed, CLOSED, USED))
    longer = jnp.where(found.used <= _EASY, trial.length * _GROWTH, trial.length)
    # Where it is lost, the rest does not count.
    reason = jnp.where(trial.accepted, reason, LOST)
    return Walk(
        point=point,
        tangent=tangent / jnp.linalg.norm(tangent),
        scale=scale,
        sign=found.sign,
        tolerance=found.tolerance,
        excess=found.excess,
        step=jnp.minimum(longer, course.max_step),
        length=walk.length + piece.length,
        reason=reason.astype(walk.reason.dtype),
    )


def _piece(walk: Walk, found: Corrected) -> Arc:
    units = metric(walk.scale)
    return arc(walk.point / units, found.point / units, walk.tangent, found.tangent)


def _try(course: Course, walk: Walk) -> _Trial:
    """Steps from long to short, until one is good."""
    units = metric(walk.scale)
    low, high = (bound / units[-1] for bound in (course.low, course.high))
    parameter = jnp.zeros_like(walk.tangent).at[-1].set(1)
    eps = jnp.finfo(walk.tangent.dtype).eps
    smallest = jnp.maximum(_SMALLEST * course.step, _ROUNDINGS * eps)

    def attempt(trial: _Trial) -> _Trial:
        found = correct(course.residual, trial.guess, trial.normal, walk.scale)
        onwards = found.tangent @ walk.tangent
        side = jnp.where(onwards < 0, -1.0, 1.0).astype(onwards.dtype)
        found = found._replace(tangent=side * found.tangent, sign=side * found.sign)
        piece = _piece(walk, found)
        there = found.point[-1] / units[-1]
        good = (found.excess <= 1) & (jnp.abs(onwards) > _TURN)
        off = jnp.linalg.norm((found.point - trial.guess) / units)
        good &= off <= _DISTANCE * trial.length
        middle = piece.at(jnp.full_like(piece.length, 0.5)) * units
        misfit = deviation(course.residual, middle, found.tolerance)
        good &= misfit <= _MISFIT * piece.length

        # A fold beyond the bound is reached before the step's end comes back.
        end = piece.turn()
        extreme = piece.at(end)[-1]
        below, above = (jnp.minimum(there, extreme) < low), (jnp.maximum(there, extreme) > high)
        lands = good & (below | above) & ~trial.to_bound
        landing = piece.at(piece.crossing(jnp.where(below, low, high), end)) * units
        landing = landing.at[-1].set(jnp.where(below, course.low, course.high))

        dip, lowest = piece.lowest_slope()
        hides = _hides_folds(piece, dip, lowest, there) & (trial.length > _HIDDEN * walk.step)
        hides &= good & ~trial.to_bound & ~lands

        shorter = trial.length * jnp.where(hides, dip, 0.5)
        shortened = walk.point + units * shorter * walk.tangent
        return _Trial(
            guess=jnp.where(lands, landing, shortened),
            normal=jnp.where(lands, parameter, walk.tangent),
            length=jnp.where((good & ~hides) | lands, trial.length, shorter),
            to_bound=lands | (trial.to_bound & good),
            accepted=good & ~hides & ~lands,
            found=found,
        )

    def goes_on(trial: _Trial) -> Array:
        return ~trial.accepted & (trial.length > smallest)

    false = jnp.zeros((), bool)
    nothing = Corrected(
        walk.point, walk.tangent, walk.sign, walk.tolerance, walk.excess, jnp.int32(0)
    )
    guess = walk.point + units * walk.step * walk.tangent
    first = _Trial(guess, walk.tangent, walk.step, false, false, nothing)
    return lax.while_loop(goes_on, attempt, first)


def _hides_folds(piece: Arc, dip: Array, lowest: Array, there: Array) -> Array:
    """Whether the parameter's slope is lower inside an arc than at both of its ends."""
    ends = jnp.stack([piece.first[-1], piece.slope(jnp.ones_like(dip))[-1]])
    side = jnp.sign(ends[0])
    same = ends[0] * ends[1] > 0
    least = jnp.min(jnp.abs(ends))
    # The slope inside comes from a difference of parameters, which rounding disturbs.
    size = jnp.maximum(jnp.abs(there), 1)
    noise = _ROUNDINGS * jnp.finfo(there.dtype).eps * size
    inside = (dip > _HIDDEN / 2) & (dip < 1 - _HIDDEN / 2)
    return same & inside & (side * lowest < _DIP * least - noise)


def _closes(course: Course, walk: Walk, piece: Arc) -> Array:
    """Whether the start lies on an arc, with the tangent that it had."""
    units = metric(walk.scale)
    start = course.start / units
    gap = start - walk.point / units
    far = jnp.maximum(piece.length, jnp.finfo(start.dtype).tiny)
    along = gap @ walk.tangent / far
    tangent = course.tangent / units
    tangent = tangent / jnp.linalg.norm(tangent)
    same = piece.slope(along) @ tangent > _TURN * piece.length
    near = jnp.linalg.norm(piece.at(along) - start) <= _NEAR * piece.length
    return (walk.length > 2 * piece.length) & (along > 0) & (along <= 1) & near & same
