"""What the package accepts, made an array, and checked wherever its values can be seen."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._messages import must


@runtime_checkable
class _SupportsArray(Protocol):
    """Columns of a table, tensors of another library: what NumPy can read."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray: ...


@runtime_checkable
class _SupportsJaxArray(Protocol):
    """Variables of a module: what JAX can read."""

    def __jax_array__(self) -> Array: ...


# Arrays, what becomes one, or Python numbers in a list.
Values = ArrayLike | Sequence[Any] | _SupportsArray | _SupportsJaxArray
# A number of examples: an integer, or the symbol that `jax.export` puts in its place.
Size = Any
# Says of each value whether there can be one like it.
Predicate = Callable[..., Array]


def floating(name: str, x: Values) -> Array:
    """A JAX array of float32, or of float64 if it was that and the precision is on.

    Raises:
      TypeError: if it is complex, or not numbers.
      ValueError: if it has masked values, or rows of several lengths.
    """
    array = _real(name, x)
    kept = array.dtype if jnp.issubdtype(array.dtype, jnp.floating) else jnp.result_type(float)
    wide = jnp.dtype(jnp.float32) if kept.itemsize < 4 else kept
    return _as_jax(array, jax.dtypes.canonicalize_dtype(wide))


def in_one_dtype(*arrays: ArrayLike) -> tuple[Array, ...]:
    """Floating arrays in the widest dtype among them."""
    made = [jnp.asarray(array) for array in arrays]
    widest = max((array.dtype for array in made), key=lambda dtype: dtype.itemsize)
    return tuple(array.astype(widest) for array in made)


def one_dimensional(name: str, x: Array) -> Array:
    """The array itself.

    Raises:
      ValueError: if it has another rank than 1, or no elements.
    """
    if x.ndim != 1:
        raise ValueError(must(name, "have shape [examples]", f"{x.shape}; use jax.vmap for more"))
    if x.shape[0] == 0:
        raise ValueError(must(name, "have at least one example", "none"))
    return x


def labels_of(examples: Size, labels: Values) -> Array:
    """Labels `[examples]` in a dtype that holds every class: boolean, or 32 or 64 bits wide.

    Raises:
      TypeError: if they are complex, or not numbers.
      ValueError: if the shape is another.
    """
    array = _real("labels", labels)
    if array.shape != (examples,):
        raise ValueError(must("labels", f"have shape {(examples,)}", array.shape))
    if array.dtype == bool:
        return _as_jax(array, array.dtype)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return floating("labels", array)
    whole = np.iinfo(jnp.result_type(int))
    if not isinstance(array, Array) and array.dtype.itemsize == 8:
        # What 32 bits do not hold is no class; clipped, it stays none.
        array = np.clip(array, max(whole.min, np.iinfo(array.dtype).min), whole.max)
    return _as_jax(array, whole.dtype)


def _as_jax(array: Array | np.ndarray, dtype: np.dtype) -> Array:
    """Converted before JAX sees it: JAX would wrap whole numbers of 64 bits around to 32.

    A constant of a traced function stays one, whose values can be seen.
    """
    now = contextlib.nullcontext() if _is_traced(array) else jax.ensure_compile_time_eval()
    with now, np.errstate(over="ignore"):
        return jnp.asarray(array.astype(dtype))


def _is_traced(array: object) -> bool:
    """Whether its values cannot be seen."""
    return isinstance(array, jax.core.Tracer)


def _real(name: str, x: Values) -> Array | np.ndarray:
    """An array of real numbers, of NumPy's unless it is JAX's."""
    if np.ma.isMaskedArray(x) and np.ma.is_masked(x):
        raise ValueError(
            must(name, "have no masked values", "some; leave them out, or weigh them by 0")
        )
    if isinstance(x, Array) or hasattr(x, "__jax_array__") or _is_traced_list(x):
        array: Array | np.ndarray = jnp.asarray(x)
    else:
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ValueError(must(name, "be an array of numbers", error)) from error
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    is_real = any(jnp.issubdtype(array.dtype, kind) for kind in kinds)
    if not is_real or array.dtype.kind == "m":  # time spans are integers to NumPy
        got = f"dtype {array.dtype.name}" if hasattr(x, "dtype") else repr(x)[:100]
        raise TypeError(must(name, "be real numbers", got))
    if isinstance(array, Array):
        return array
    if array.dtype == np.longdouble:
        return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_traced_list(x: Values) -> bool:
    return isinstance(x, (list, tuple)) and any(map(_is_traced, jax.tree.leaves(x)))


def require(
    name: str, rule: str, given: Values, array: Array, valid: Predicate, *parameters: ArrayLike
) -> Array:
    """Whether all examples are valid; where values can be seen they are, or there is an error.

    Args:
      name: of the argument.
      rule: what its values "must be".
      given: the argument as the user wrote it, for the error.
      array: the same as an array `[examples, ...]`.
      valid: maps `array` and the parameters to booleans of the shape of `array`; a function of a
        module, since it is compiled.

    Raises:
      ValueError: for the first example that is not valid.
    """
    if _is_traced(array):
        return jnp.all(valid(array, *parameters))
    with jax.ensure_compile_time_eval():
        first = int(_first_invalid(valid, array, *parameters))
    if first < array.shape[0]:
        raise ValueError(must(name, rule, f"{np.asarray(given)[first]} at index {first}"))
    return jnp.ones((), bool)


@functools.partial(jax.jit, static_argnums=0)
def _first_invalid(valid: Predicate, array: Array, *parameters: ArrayLike) -> Array:
    """The smallest index of an example that is not valid; beyond all if there is none."""
    examples = array.shape[0]
    index = lax.broadcasted_iota(jnp.result_type(int), array.shape, 0)
    return jnp.min(jnp.where(valid(array, *parameters), examples, index))


def two_classes(labels: Values, examples: Size) -> tuple[Array, Array]:
    """Which examples are positive, from booleans, {0, 1} or {-1, 1}; and whether all are these.

    Raises:
      TypeError: if they are not real numbers.
      ValueError: if the shape is another, or a value is none of these.
    """
    array = labels_of(examples, labels)
    if array.dtype == bool:
        return array, jnp.ones((), bool)
    rule = "be booleans, 0 and 1, or -1 and 1"
    valid = require("labels", rule, labels, array, _is_of_two_classes)
    return array > jnp.zeros((), array.dtype), valid


def _is_of_two_classes(labels: Array) -> Array:
    negative_is_minus_one = jnp.min(labels) < 0
    return (labels == 1) | jnp.where(negative_is_minus_one, labels == -1, labels == 0)


def classes_of(labels: Values, examples: Size, classes: int) -> tuple[Array, Array]:
    """Labels `[examples]` that are classes from 0 on, and whether all are.

    Raises:
      TypeError: if they are not real numbers.
      ValueError: if the shape is another, or a label is no class.
    """
    array = labels_of(examples, labels)
    if array.dtype == bool:
        array = _as_jax(array, jnp.dtype(jnp.int32))
    rule = f"be classes from 0 to {classes - 1}"
    limit = np.asarray(classes, array.dtype)
    return array, require("labels", rule, labels, array, _is_class, limit)


def _is_class(labels: Array, classes: ArrayLike) -> Array:
    return (labels >= 0) & (labels < classes) & (labels == jnp.round(labels))


def nonnegative_weights(weights: Values | None, like: Array) -> tuple[Array | None, Array]:
    """Weights `[examples]` in the dtype of `like`, if there are any; and whether they can be.

    Raises:
      TypeError: if they are not real numbers.
      ValueError: if the shape is another, one is negative or not finite, or all are 0.
    """
    if weights is None:
        return None, jnp.ones((), bool)
    array = _as_jax(floating("weights", weights), like.dtype)
    if array.shape != like.shape[:1]:
        raise ValueError(must("weights", f"have shape {like.shape[:1]}", array.shape))
    rule = f"be finite, not negative and at most {_largest_weight(array.dtype):.2g}"
    each = require("weights", rule, weights, array, _is_weight)
    some = require("weights", "not all be 0", weights, array, _is_among_some)
    return array, each & some


def _is_weight(weights: Array) -> Array:
    return (weights >= 0) & (weights <= _largest_weight(weights.dtype))


def _is_among_some(weights: Array) -> Array:
    """Nothing would count if all were 0."""
    return jnp.full(weights.shape, jnp.any(weights > 0))


def _largest_weight(dtype: np.dtype) -> float:
    return float(jnp.finfo(dtype).max) / 4  # the inverse of its power of two is a normal number
