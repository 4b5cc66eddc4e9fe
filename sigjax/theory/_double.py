"""Formulas of theory are evaluated in float64, whatever the caller's precision is."""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

# How many points of a grid are computed side by side: their nodes fit a processor's cache.
_BATCH = 32


Formula: TypeAlias = Callable[..., Any]


def in_double(formula: Formula) -> Formula:
    r"""Evaluates `formula(static, *scalars)` in float64 over arrays that broadcast.

    Near criticality depth scales are $1/|\log \chi|$ with $\chi$ near 1: float32 has no digits
    for them. The operations are float64 whether or not `jax_enable_x64` is set, and the result has
    the default floating dtype. Python numbers keep all their digits.

    Derivatives of every order are those of the formula, in float64 as well: each is another
    formula evaluated here. Transformations and compilation outside see only the results.

    Args:
      formula: maps a hashable object and float64 scalars to a pytree of arrays; differentiable
        in forward mode.
    """
    return _in_double(formula, point_by_point=True)


def elementwise_in_double(formula: Formula) -> Formula:
    """The same for a formula of arrays that broadcast, which is evaluated on whole ones."""
    return _in_double(formula, point_by_point=False)


def _in_double(formula: Formula, *, point_by_point: bool) -> Formula:
    of_arrays = functools.partial(_over_grid, formula) if point_by_point else formula
    compiled = jax.jit(of_arrays, static_argnums=0)

    @functools.wraps(formula)
    def evaluate(static: Any, *arguments: ArrayLike) -> Any:
        dtype = jnp.result_type(float)
        traced = [i for i, x in enumerate(arguments) if isinstance(x, jax.core.Tracer)]
        # What outlives the trace, as a derivative's rule does, must not hold its tracers.
        known = tuple(None if i in traced else x for i, x in enumerate(arguments))

        @jax.custom_jvp
        def call(*varying: Array) -> Any:
            with jax.enable_x64(True):
                wide = _widened(known, dict(zip(traced, varying, strict=True)))
                values = compiled(static, *wide)
                return jax.tree.map(lambda x: x.astype(dtype) if _is_real(x) else x, values)

        @call.defjvp
        def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> Any:
            replaced = dict(zip(traced, primals, strict=True))
            current: list[Any] = [replaced.get(i, argument) for i, argument in enumerate(known)]
            slopes = [
                _slope(formula, position, point_by_point)(static, *current) for position in traced
            ]
            grid = jnp.broadcast_shapes(*(jnp.shape(argument) for argument in current))
            steps = [jnp.broadcast_to(tangent, grid) for tangent in tangents]
            result = call(*primals)
            return result, jax.tree.map(functools.partial(_along, steps), result, *slopes)

        return call(*(jnp.asarray(arguments[i], dtype) for i in traced))

    return evaluate


@functools.cache
def _slope(formula: Formula, position: int, point_by_point: bool) -> Formula:
    """The partial derivative with respect to one scalar; 0 for results that are not real."""

    def slope(static: Any, *scalars: Array) -> Any:
        def along(scalar: Array) -> Any:
            return formula(static, *scalars[:position], scalar, *scalars[position + 1 :])

        one = jnp.ones_like(scalars[position])
        result, tangent = jax.jvp(along, (scalars[position],), (one,))
        return jax.tree.map(
            lambda leaf, slope: slope if _is_real(leaf) else jnp.zeros(leaf.shape), result, tangent
        )

    return _in_double(slope, point_by_point=point_by_point)


def _over_grid(formula: Formula, static: Any, *arguments: Array) -> Any:
    """The formula at every point of the broadcast arguments, some points at a time."""
    shape = jnp.broadcast_shapes(*(argument.shape for argument in arguments))
    if shape == ():
        return formula(static, *arguments)
    size = math.prod(shape)
    # Of a number that is a symbol (`jax.export`) nothing is known: one at a time.
    batch = 1 if jax.export.is_symbolic_dim(size) else max(1, min(_BATCH, size))
    # Filled up with copies of the last point: a remainder would be a second program.
    missing = -size % batch

    def in_batches(argument: Array) -> Array:
        points = jnp.broadcast_to(argument, shape).ravel()
        return jnp.pad(points, (0, missing), mode="edge").reshape(-1, batch)

    def of_batch(points: list[Array]) -> Any:
        return jax.vmap(functools.partial(formula, static))(*points)

    values = lax.map(of_batch, [in_batches(argument) for argument in arguments])
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:size].reshape(shape + leaf.shape[2:]),
        values,
    )


def _widened(arguments: tuple[ArrayLike | None, ...], varying: dict[int, Array]) -> list[Array]:
    return [
        lax.convert_element_type(varying[i], jnp.float64)
        if i in varying
        else jnp.asarray(np.asarray(argument, np.float64))
        for i, argument in enumerate(arguments)
    ]


def _is_real(leaf: Array) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _along(steps: list[Array], result: Array, *slopes: Array) -> Any:
    """The tangent of a result whose leading dimensions are the grid's."""
    if not _is_real(result):
        return np.zeros(result.shape, jax.dtypes.float0)
    total = jnp.zeros_like(result)
    for slope, step in zip(slopes, steps, strict=True):
        total += slope * step.reshape(step.shape + (1,) * (slope.ndim - step.ndim))
    return total
