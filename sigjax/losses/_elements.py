"""What the elementwise losses share: their arguments, their mask and their sum."""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from ..functional._arguments import as_weak_as, check_shapes, real_floating
from ..functional._messages import must
from ..functional._precision import computed_in

Axis = int | Sequence[int] | None


class Elements(NamedTuple):
    """Arguments of one shape and sharding, in the precision that the loss is computed in.

    Attributes:
      arguments: 0 where masked, whatever was there.
      kept: False where masked, None without a mask.
      dtype: that of the loss.
      like: an argument whose weak type the loss takes.
    """

    arguments: tuple[Array, ...]
    kept: Array | None
    dtype: DTypeLike
    like: Array

    def reduce(self, loss: Array, axis: Axis) -> Array:
        """Rounds once, after the sum over `axis`; masked entries count 0."""
        if self.kept is not None:
            loss = jnp.where(self.kept, loss, 0)
        if axis is not None:
            loss = jnp.sum(loss, _axes(axis))
        return as_weak_as(self.like, loss.astype(self.dtype))


def elements(
    function: str,
    leading: Mapping[str, ArrayLike],
    others: Mapping[str, ArrayLike | None],
    *,
    where: ArrayLike | None,
) -> Elements:
    """Checks and joins the arguments of an elementwise loss.

    Args:
      leading: the arguments that decide the dtype of the loss.
      others: those that are converted to it; without the ones that are None.

    Raises:
      TypeError: if an argument is not a real number or array, or `where` not boolean.
      ValueError: if the shapes do not broadcast.
    """
    name = f"losses.{function}"
    values = {**leading, **{key: value for key, value in others.items() if value is not None}}
    arrays = {key: real_floating(name, key, value) for key, value in values.items()}
    first = [arrays[key] for key in leading]
    dtype = jnp.result_type(*first)
    like = next((array for array in first if not array.weak_type), first[0])
    masks = {} if where is None else {"where": _boolean(name, where)}
    check_shapes(f"sigjax.{name}", **arrays, **masks)
    wide = computed_in(dtype)
    joint = joined(*(array.astype(wide) for array in arrays.values()), *masks.values())
    if not masks:
        return Elements(tuple(joint), None, dtype, like)
    *joint, kept = joint
    # The inputs are masked, not only the losses: the reverse pass multiplies the 0 that arrives at
    # a masked loss by its derivative, and 0 times NaN is NaN.
    return Elements(tuple(jnp.where(kept, array, 0) for array in joint), kept, dtype, like)


def joined(*arrays: Array) -> list[Array]:
    """Gives arrays one shape and, on a mesh, the type that arithmetic with all of them has.

    Explicit axes let a product have one factor sharded and one replicated, but no choice
    (`select`) and no custom derivative; nor may one vary over the devices of a `shard_map` and
    the other not.
    """
    joint = list(jnp.broadcast_arrays(*arrays))  # a tuple since jax 0.11
    if all(jax.typeof(array).sharding.mesh.empty for array in joint):
        return joint
    zero = functools.reduce(jnp.add, (jnp.zeros_like(array, jnp.int8) for array in joint))
    return [
        array | zero.astype(bool) if array.dtype == bool else array + zero.astype(array.dtype)
        for array in joint
    ]


def _boolean(function: str, where: ArrayLike) -> Array:
    if getattr(where, "dtype", type(where)) not in (bool, jnp.bool_):
        raise TypeError(
            must("where", "be boolean", getattr(where, "dtype", where), of=f"sigjax.{function}")
        )
    return jnp.asarray(where)


def _axes(axis: int | Sequence[int]) -> tuple[int, ...]:
    axes = axis if isinstance(axis, Sequence) and not isinstance(axis, str) else (axis,)
    try:
        return tuple(operator.index(each) for each in axes)
    except TypeError as error:
        raise TypeError(must("axis", "be an integer, or several", repr(axis))) from error
