"""Branches of solutions, followed around their folds."""

import functools
from collections.abc import Callable
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..functional._messages import must
from ._branch import CLOSED, NO_SCALE, REASONS, Branch
from ._description import describe
from ._linearised import Residual
from ._walk import Settings, walk

_must = functools.partial(must, of="sigjax.dynamics.continuation")

# Branch points as near as this, in units of the scale, are one: they are located to rounding.
_SAME = 1e-3


@overload
def continuation(
    residual: Residual,
    state: Any,
    parameter: Any,
    *,
    bounds: tuple[Any, Any],
    step: float = ...,
    max_step: float | None = ...,
    max_points: int = ...,
    direction: int = ...,
    scale: Any = ...,
    branches: Literal[False] = ...,
) -> Branch: ...


@overload
def continuation(
    residual: Residual,
    state: Any,
    parameter: Any,
    *,
    bounds: tuple[Any, Any],
    step: float = ...,
    max_step: float | None = ...,
    max_points: int = ...,
    direction: int = ...,
    scale: Any = ...,
    branches: Literal[True],
) -> list[Branch]: ...


def continuation(
    residual: Residual,
    state: Any,
    parameter: Any,
    *,
    bounds: tuple[Any, Any],
    step: float = 0.05,
    max_step: float | None = None,
    max_points: int = 400,
    direction: int = 1,
    scale: Any = None,
    branches: bool = False,
) -> Branch | list[Branch]:
    r"""Follows the solutions of $F(x, \lambda) = 0$ by pseudo-arclength continuation.

    A step goes along the tangent; Newton's method brings it back to the branch, at right angles
    to the tangent, so a fold is a point as any other. A step whose tangent turns by more than 18
    degrees, or that does not converge, is halved: the branch is not left for another one. It is
    shortened too where the parameter's slope dips inside it, so that no two folds are lost that
    lie a tenth of a step apart or more. The last point lies on the bound that was reached.

    Lengths are measured in units of `scale`, one for each component, and residuals in those of
    their slopes, so that the units of state, parameter and residual do not matter. At every point
    the residual $F_i$ is within 64 eps $\sum_j |\partial_j F_i| s_j$ of 0, which is what rounding
    the unknowns, of size $s_j$, makes of it: see `Branch.tolerances`.

    Folds, and branch points, where the determinant of $[F_x\ F_\lambda]$ with the tangent below
    changes its sign, are located to rounding and listed in the `Branch`; the walk goes on through
    them.

    Pure and of static shapes: runs under `jax.jit`, and many branches at once under `jax.vmap`.
    Work in float64 where folds are wanted to more than 4 digits.

    Args:
      residual: $F$, of a state `[variables]` and a scalar, `[variables]`; twice differentiable.
      state: `[variables]`, near a solution; it may be a fold. 16-bit ones become float32.
      parameter: $\lambda$ there.
      bounds: lowest and highest parameter.
      step: first arclength, as a fraction of the scale.
      max_step: longest one; `step` by default.
      max_points: how many points there is room for.
      direction: 1 to start towards larger parameters, -1 towards smaller ones; on a fold, towards
        larger and smaller values of the component that moves most.
      scale: `[variables + 1]`, the size of each component, the parameter's last. By default the
        parameter's is the distance of its bounds, and a component's is that of the largest state
        so far, or, where it starts near 0, how far derivatives at the start let it go between the
        bounds. It must be given where all of this is 0.
      branches: whether to walk also the other branches through the branch points, both ways from
        there; not under `jax.jit` or `jax.vmap`, since their number depends on values.

    Returns:
      A `Branch`, whose `stopped` says where it ended and why; with `branches`, a list of it and the
      others, which begin at their branch points.

    Raises:
      ValueError: for a state that is no vector, a step, number of points or direction that makes
        no sense, bounds in the wrong order or that leave the start outside, a residual of
        another shape, a scale that is of another shape or not positive, or none where it must be
        given (under `jax.jit` the branch is empty and its `reason` says so).
      TypeError: for a complex state.

    Example:
      >>> branch = continuation(lambda x, p: p - x + x**3, [1.5], -1.875, bounds=(-2.0, 2.0))
      >>> parameters, _ = branch.folds()
      >>> import numpy as np  # the folds of x - x^3 are at 2 / sqrt(27) = 0.385
      >>> print(np.round(np.sort(parameters[~np.isnan(parameters)]), 3))
      [-0.385  0.385]

    References:
      Keller 1977, Applications of Bifurcation Theory, 359-384 (pseudo-arclength).
      Allgower & Georg 1990, Numerical Continuation Methods, Springer (steps; branch points).
      Govaerts 2000, Numerical Methods for Bifurcations of Dynamical Equilibria, SIAM.
    """
    start, low, high = _checked_start(residual, state, parameter, bounds)
    if direction not in (-1, 1):
        raise ValueError(_must("direction", "be 1 or -1", direction))
    if not step > 0 or (max_step is not None and not max_step >= step):
        raise ValueError(
            _must("step", "be positive and at most max_step", f"{step} with max_step={max_step}")
        )
    if max_points < 2:
        raise ValueError(_must("max_points", "be at least 2", max_points))
    sizes = jnp.zeros_like(start) if scale is None else _checked_scale(scale, start)
    longest = step if max_step is None else max_step
    settings = Settings(residual, low, high, step, longest, max_points, direction, scale is None)

    @jax.jit  # one program instead of one for each operation, and for all branches
    def follow(start: Array, tangent: Array, scale: Array) -> Branch:
        last, rows, count = walk(settings, start, tangent, scale)
        return describe(residual, last, rows, count, jnp.any(tangent != 0))

    branch = follow(start, jnp.zeros_like(start), sizes)
    if isinstance(branch.reason, jax.core.Tracer):
        if branches:
            raise ValueError(_must("branches", "be False under jit and vmap", "True"))
        return branch
    if branch.reason == NO_SCALE:
        raise ValueError(
            _must("scale", f"be given, of shape {start.shape}", f"None; {REASONS[NO_SCALE]}")
        )
    if not branches:
        return branch
    return [branch, *_others(branch, follow)]


def _others(branch: Branch, follow: Callable[[Array, Array, Array], Branch]) -> list[Branch]:
    """The branches that cross one, each walked both ways from there, unless it closes."""
    others: list[Branch] = []
    scale = np.asarray(branch.scales[-1])
    points, found = _crossings(branch)
    for row in found:
        again = [points[found[found != row]], *(_crossings(other)[0] for other in others)]
        gaps = [np.abs((known - points[row]) / scale).max(-1) for known in again]
        # It was passed by another branch, or is where this one crosses itself.
        if any((gap < _SAME).any() for gap in gaps):
            continue
        for side in (1, -1):
            direction = side * branch.crossings.directions[row]
            others.append(follow(jnp.asarray(points[row]), direction, branch.scales[-1]))
            if others[-1].reason == CLOSED:
                break
    return others


def _crossings(branch: Branch) -> tuple[Any, Any]:
    """The rows of branch points `[points - 1, variables + 1]`, and which of them there are."""
    found = branch.crossings
    points = np.column_stack([found.states, found.parameters])
    return np.where(found.exists[:, None], points, np.inf), np.flatnonzero(found.exists)


def _checked_start(
    residual: Residual, state: Any, parameter: Any, bounds: tuple[Any, Any]
) -> tuple[Array, Array, Array]:
    """State and parameter in one vector, and the bounds."""
    first = jnp.asarray(state)
    if first.ndim != 1 or first.shape[0] == 0:
        raise ValueError(_must("state", "have shape [variables]", first.shape))
    if jnp.iscomplexobj(first):
        raise TypeError(_must("state", "be real", first.dtype))
    if not jnp.issubdtype(first.dtype, jnp.floating):
        first = first.astype(jnp.result_type(float))
    if jnp.finfo(first.dtype).bits < 32:  # no factorisation of a matrix takes these
        first = first.astype(jnp.float32)
    low, high = (jnp.asarray(bound, first.dtype) for bound in bounds)
    value = jnp.asarray(parameter, first.dtype)
    if value.shape:
        raise ValueError(_must("parameter", "be a scalar", f"shape {value.shape}"))
    if not any(isinstance(x, jax.core.Tracer) for x in (low, high, value)) and not (
        low <= value <= high
    ):
        raise ValueError(_must("bounds", f"enclose the parameter {value}", f"{low} to {high}"))
    shape = jax.eval_shape(residual, first, value).shape
    if shape != first.shape:
        raise ValueError(_must("residual", f"return the shape of the state {first.shape}", shape))
    return jnp.append(first, value), low, high


def _checked_scale(scale: Any, start: Array) -> Array:
    sizes = jnp.asarray(scale, start.dtype)
    if sizes.shape != start.shape:
        raise ValueError(_must("scale", f"have shape [variables + 1] {start.shape}", sizes.shape))
    if not isinstance(sizes, jax.core.Tracer) and not (sizes > 0).all():
        raise ValueError(_must("scale", "be positive", scale))
    return sizes
