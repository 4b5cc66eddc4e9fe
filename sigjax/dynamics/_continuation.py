"""Branches of solutions, followed around their folds."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

_NEWTON = 8
# A point found in fewer corrections lets the step grow, and a turn of the tangent by more than
# this cosine (18 degrees) halves it, so that the branch is not left for a neighbour.
_EASY = 3
_TURN = 0.95
_GROWTH = 1.5
# Steps below this fraction of the first one are given up.
_SMALLEST = 1e-6

REASONS = (
    "all points were used",
    "the parameter came to a bound",
    "the branch closed on itself",
    "no next point was found: the residual has no root near, or is not smooth there",
    "the start is not a solution, and none was found near it",
)
_USED, _BOUND, _CLOSED, _STUCK, _NO_START = range(len(REASONS))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["states", "parameters", "tangents", "lengths", "count", "reason"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Branch:
    """Solutions along a curve; a pytree. Rows from `count` on are NaN.

    Attributes:
      states: `[points, variables]`.
      parameters: `[points]`.
      tangents: `[points, variables + 1]`, unit vectors along the branch, the parameter last.
      lengths: `[points]`, arclength from the start.
      count: how many points there are.
      reason: why it ended; see `stopped`.
    """

    states: Array
    parameters: Array
    tangents: Array
    lengths: Array
    count: Array
    reason: Array

    @property
    def stopped(self) -> str:
        """Where the branch ends and why, in words; for one branch, outside `jit`."""
        if self.reason.ndim:
            raise ValueError("stopped describes one branch: index the batch first")
        last = int(self.count) - 1
        where = f" at parameter {float(self.parameters[last]):.6g}" if last >= 0 else ""
        return f"{REASONS[int(self.reason)]}{where} ({last + 1} points)"

    def folds(self) -> tuple[Array, Array]:
        """Where the branch turns back in the parameter.

        Located between neighbouring points by the cubic through both with their tangents: an
        error of the fourth order in the step.

        Returns:
          Parameters `[points - 1]` and states `[points - 1, variables]` of the folds, each in the
          row of the point before it, NaN elsewhere.
        """
        return _turning_points(self)


@jax.jit
def _turning_points(branch: Branch) -> tuple[Array, Array]:
    step = jnp.diff(branch.lengths)
    slopes = branch.tangents[:, -1]
    turns = slopes[:-1] * slopes[1:] < 0
    points = jnp.concatenate([branch.states, branch.parameters[:, None]], axis=1)

    def between(s: Array, row: Array, tangents: Array, length: Array) -> Array:
        """Hermite's cubic at s in [0, 1]."""
        start, end = row
        first, last = tangents * length
        chord = end - start
        bend = (first - 2 * chord + last) * s + (3 * chord - 2 * first - last)
        return start + s * (first + s * bend)

    def turning_point(row: Array, tangents: Array, length: Array) -> Array:
        first, last = tangents[:, -1] * length
        chord = row[1, -1] - row[0, -1]
        # derivative: first + 2 (3 chord - 2 first - last) s + 3 (first - 2 chord + last) s^2
        b, a = 3 * chord - 2 * first - last, 3 * (first - 2 * chord + last)
        root = jnp.sqrt(jnp.maximum(b * b - a * first, 0))
        q = -(b + jnp.where(b >= 0, root, -root))
        one, two = first / q, q / jnp.where(a == 0, 1, a)
        s = jnp.where((one >= 0) & (one <= 1), one, two)
        return between(s, row, tangents, length)

    pairs = jnp.stack([points[:-1], points[1:]], axis=1)
    directions = jnp.stack([branch.tangents[:-1], branch.tangents[1:]], axis=1)
    found = jax.vmap(turning_point)(pairs, directions, step)
    found = jnp.where(turns[:, None], found, jnp.nan)
    return found[:, -1], found[:, :-1]


class _Walk(NamedTuple):
    point: Array
    tangent: Array
    step: Array
    length: Array
    reason: Array
    done: Array


def continuation(
    residual: Callable[[Array, Array], Array],
    state: Any,
    parameter: Any,
    *,
    bounds: tuple[Any, Any],
    step: float = 0.05,
    max_step: float | None = None,
    max_points: int = 400,
    direction: int = 1,
) -> Branch:
    r"""Follows the solutions of $F(x, \lambda) = 0$ by pseudo-arclength continuation.

    A step goes along the tangent; Newton's method brings it back to the branch, at right angles
    to the tangent, so a fold is a point as any other. A step whose tangent turns by more than 18
    degrees, or that does not converge, is halved: the branch is not left for another one. The
    last point lies on the bound that was reached.

    Pure and of static shapes: runs under `jax.jit`, and many branches at once under `jax.vmap`.
    Work in float64 where folds are wanted to more than 4 digits.

    Args:
      residual: $F$, of a state `[variables]` and a scalar, `[variables]`; smooth.
      state: `[variables]`, near a solution.
      parameter: $\lambda$ there.
      bounds: lowest and highest parameter.
      step: first arclength, in the units of state and parameter together.
      max_step: longest one; `step` by default.
      max_points: how many points there is room for.
      direction: 1 to start towards larger parameters, -1 towards smaller ones.

    Returns:
      A `Branch`, whose `stopped` says where it ended and why.

    Raises:
      ValueError: for a state that is no vector, a step, number of points or direction that makes
        no sense, bounds in the wrong order or that leave the start outside, or a residual of
        another shape.

    Example:
      >>> branch = continuation(lambda x, p: p - x + x**3, [1.5], -1.875, bounds=(-2.0, 2.0))
      >>> parameters, _ = branch.folds()
      >>> import numpy as np  # the folds of x - x^3 are at 2 / sqrt(27) = 0.385
      >>> print(np.round(np.sort(parameters[~np.isnan(parameters)]), 3))
      [-0.385  0.385]

    References:
      Keller 1977, Applications of Bifurcation Theory, 359-384.
    """
    start = jnp.asarray(state, jnp.result_type(float) if isinstance(state, list) else None)
    if start.ndim != 1 or start.shape[0] == 0:
        raise ValueError(f"state must have shape [variables], not {start.shape}")
    if not jnp.issubdtype(start.dtype, jnp.floating):
        start = start.astype(jnp.result_type(float))
    if direction not in (-1, 1):
        raise ValueError(f"direction must be 1 or -1, not {direction}")
    if not step > 0 or (max_step is not None and not max_step >= step):
        raise ValueError(f"step must be positive and at most max_step: {step}, {max_step}")
    if max_points < 2:
        raise ValueError(f"max_points must be at least 2, not {max_points}")
    low, high = (jnp.asarray(bound, start.dtype) for bound in bounds)
    value = jnp.asarray(parameter, start.dtype)
    if not any(isinstance(x, jax.core.Tracer) for x in (low, high, value)) and not (
        low <= value <= high
    ):
        raise ValueError(f"bounds must enclose the parameter {value}: {low} to {high}")
    shape = jax.eval_shape(residual, start, value).shape
    if shape != start.shape:
        raise ValueError(f"residual must return the shape of the state {start.shape}, not {shape}")

    system = _System(residual, low, high)
    longest = step if max_step is None else max_step

    @jax.jit  # one program instead of one for each operation
    def follow(first: Array) -> Branch:
        return system.follow(first, step, longest, max_points, direction)

    return follow(jnp.append(start, value))


class _System:
    """The residual as a function of state and parameter in one vector."""

    def __init__(self, residual: Callable[[Array, Array], Array], low: Array, high: Array):
        self._residual = residual
        self._low, self._high = low, high

    def _value(self, point: Array) -> Array:
        return self._residual(point[:-1], point[-1])

    def _tangent(self, point: Array, previous: Array) -> Array:
        """The unit vector in the null space of the Jacobian that goes on as the previous one."""
        matrix = jnp.vstack([jax.jacfwd(self._value)(point), previous])
        tangent = jnp.linalg.solve(matrix, jnp.zeros_like(point).at[-1].set(1))
        return tangent / jnp.linalg.norm(tangent)

    def _correct(self, guess: Array, normal: Array) -> tuple[Array, Array, Array]:
        """Newton's method in the plane through the guess; converged, and corrections needed."""
        tolerance = 8 * jnp.finfo(guess.dtype).eps * (1 + jnp.max(jnp.abs(guess)))
        # Where conditions are bad, corrections stay above rounding but stop shrinking.
        loose = jnp.sqrt(jnp.finfo(guess.dtype).eps) * (1 + jnp.max(jnp.abs(guess)))

        def correct(carry: tuple[Array, Array, Array], _: None) -> tuple[Any, None]:
            point, moved, used = carry
            matrix = jnp.vstack([jax.jacfwd(self._value)(point), normal])
            off = jnp.append(self._value(point), normal @ (point - guess))
            change = jnp.linalg.solve(matrix, off)
            size = jnp.max(jnp.abs(change))
            active = moved > tolerance
            point = jnp.where(active, point - change, point)
            return (point, jnp.where(active, size, moved), used + active.astype(used.dtype)), None

        infinite = jnp.full((), jnp.inf, guess.dtype)
        (point, moved, used), _ = lax.scan(correct, (guess, infinite, jnp.int32(0)), length=_NEWTON)
        return point, moved <= loose, used

    def follow(
        self, first: Array, step: float, max_step: float, max_points: int, direction: int
    ) -> Branch:
        upwards = jnp.zeros_like(first).at[-1].set(1)
        start, found, _ = self._correct(first, upwards)
        start = jnp.where(found, start, first)
        tangent = self._tangent(start, upwards)
        # At a fold the parameter's own direction is no guide: any is taken.
        usable = jnp.all(jnp.isfinite(tangent))
        tangent = jnp.where(usable, tangent * jnp.sign(tangent[-1]) * direction, upwards)
        walk = _Walk(
            start,
            tangent,
            jnp.asarray(step, first.dtype),
            jnp.zeros((), first.dtype),
            jnp.where(found & usable, _USED, _NO_START),
            ~(found & usable),
        )

        def advance(walk: _Walk, _: None) -> tuple[_Walk, tuple[Array, Array, Array, Array]]:
            new = self._next(walk, step, max_step, start)
            failed = new.reason == _STUCK
            kept = ~walk.done & ~failed
            row = (new.point, new.tangent, new.length, kept)
            walk = jax.tree.map(lambda a, b: jnp.where(walk.done, a, b), walk, new)
            return walk, row

        last, (points, tangents, lengths, kept) = lax.scan(advance, walk, length=max_points - 1)
        ends = (~walk.done)[None]
        points = jnp.vstack([start[None], points])
        tangents = jnp.vstack([tangent[None], tangents])
        lengths = jnp.concatenate([jnp.zeros((1,), first.dtype), lengths])
        kept = jnp.concatenate([ends, kept])
        points = jnp.where(kept[:, None], points, jnp.nan)
        return Branch(
            points[:, :-1],
            points[:, -1],
            jnp.where(kept[:, None], tangents, jnp.nan),
            jnp.where(kept, lengths, jnp.nan),
            jnp.sum(kept),
            last.reason,
        )

    def _next(self, walk: _Walk, step: float, max_step: float, start: Array) -> _Walk:
        """The next point, with as short a step as it needs."""

        def attempt(length: Array) -> tuple[Array, Array, Array, Array]:
            guess = walk.point + length * walk.tangent
            point, converged, used = self._correct(guess, walk.tangent)
            tangent = self._tangent(point, walk.tangent)
            good = converged & (tangent @ walk.tangent > _TURN)
            # A point beside the predicted one, not elsewhere.
            good &= jnp.linalg.norm(point - guess) < length
            return point, tangent, used, good

        def shorten(carry: tuple[Array, Any]) -> tuple[Array, Any]:
            length = carry[0] / 2
            return length, attempt(length)

        def fails(carry: tuple[Array, Any]) -> Array:
            return ~carry[1][3] & (carry[0] > _SMALLEST * step)

        length, (point, tangent, used, good) = lax.while_loop(
            fails, shorten, (walk.step, attempt(walk.step))
        )
        outside = (point[-1] < self._low) | (point[-1] > self._high)
        point, tangent = jax.tree.map(
            lambda a, b: jnp.where(outside, a, b), self._on_bound(point, tangent), (point, tangent)
        )
        moved = jnp.where(outside, jnp.linalg.norm(point - walk.point), length)
        # The start lies between the last point and this one.
        gap = start - walk.point
        along = gap @ walk.tangent
        closed = (walk.length > 2 * length) & (along > 0) & (along <= length)
        closed &= jnp.linalg.norm(gap - along * walk.tangent) < length / 4
        reason = jnp.where(outside, _BOUND, jnp.where(closed, _CLOSED, _USED))
        reason = jnp.where(good, reason, _STUCK)
        longer = jnp.where(used <= _EASY, length * _GROWTH, length)
        return _Walk(
            point,
            tangent,
            jnp.minimum(longer, max_step),
            walk.length + moved,
            reason,
            reason != _USED,
        )

    def _on_bound(self, point: Array, tangent: Array) -> tuple[Array, Array]:
        """The solution at the bound that was passed, from one just outside it."""
        bound = jnp.clip(point[-1], self._low, self._high)
        slope = jnp.where(tangent[-1] == 0, 1, tangent[-1])
        guess = (point + (bound - point[-1]) / slope * tangent).at[-1].set(bound)
        only_parameter = jnp.zeros_like(point).at[-1].set(1)
        exact, _, _ = self._correct(guess, only_parameter)
        return exact, self._tangent(exact, tangent)
