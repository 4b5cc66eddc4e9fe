"""What the elementwise losses share: their arguments, their mask and their sum."""

import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import checkify
from jax.typing import ArrayLike

from ..functional._arguments import as_weak_as, check_shapes, real_floating
from ..functional._precision import computed_in

Axis = int | Sequence[int] | None


class Elements(NamedTuple):
    """Logits and labels of one shape, in the precision that the loss is computed in.

    Attributes:
      logits, labels: 0 where masked, whatever was there.
      kept: False where masked, None without a mask.
      like: the argument whose dtype and weak type the loss takes.
    """

    logits: Array
    labels: Array
    kept: Array | None
    like: Array

    def reduce(self, loss: Array, axis: Axis) -> Array:
        """Rounds once, after the sum over `axis`; masked entries count 0."""
        if self.kept is not None:
            loss = jnp.where(self.kept, loss, 0)
        if axis is not None:
            loss = jnp.sum(loss, _axes(axis))
        return as_weak_as(self.like, loss.astype(self.like.dtype))


def elements(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None,
    check_labels: bool,
) -> Elements:
    """Checks and joins the arguments of an elementwise loss.

    Raises:
      TypeError: if an argument is not a real number or array, or `where` not boolean.
      ValueError: if the shapes do not broadcast, or `check_labels` and a label is outside
        [0, 1]; under `jit` that is a `checkify` error.
    """
    z = real_floating(f"losses.{function}", "logits", logits)
    wide = computed_in(z.dtype)
    y = real_floating(f"losses.{function}", "labels", labels).astype(wide)
    if where is not None and getattr(where, "dtype", type(where)) not in (bool, jnp.bool_):
        raise TypeError(
            f"sigjax.losses.{function}: argument 'where' must be boolean, got "
            f"{getattr(where, 'dtype', where)}"
        )
    kept = None if where is None else jnp.asarray(where)
    masks = {} if kept is None else {"where": kept}
    shape = check_shapes(f"sigjax.losses.{function}", logits=z, labels=y, **masks)
    y = jnp.broadcast_to(y, shape)
    finite = jnp.broadcast_to(z.astype(wide), shape)
    if kept is not None:
        # Before anything is computed: a NaN would come back through the derivative of 0 NaN.
        finite, y = jnp.where(kept, finite, 0), jnp.where(kept, y, 0)
    if check_labels:
        _check(function, y)
    return Elements(finite, y, kept, z)


def _axes(axis: int | Sequence[int]) -> tuple[int, ...]:
    axes = axis if isinstance(axis, Sequence) and not isinstance(axis, str) else (axis,)
    try:
        return tuple(operator.index(each) for each in axes)
    except TypeError as error:
        raise TypeError(f"axis must be an integer, or several, got {axis!r}") from error


def parameter(function: str, name: str, value: ArrayLike, z: Array, low: float, high: float):
    """Returns a parameter in the dtype of `z`.

    Raises:
      TypeError: if it is not a real number or array.
      ValueError: if it is known before the program runs and outside [low, high].
    """
    array = real_floating(f"losses.{function}", name, value).astype(z.dtype)
    check_shapes(f"sigjax.losses.{function}", **{"logits": z, name: array})
    if not isinstance(array, jax.core.Tracer) and not bool(
        jnp.all((array >= low) & (array <= high))
    ):
        raise ValueError(
            f"sigjax.losses.{function}: argument '{name}' must be in [{low:g}, {high:g}], "
            f"got {value}"
        )
    return array


def _check(function: str, labels: Array) -> None:
    low, high = jnp.min(labels, initial=1), jnp.max(labels, initial=0)
    inside = jnp.all((labels >= 0) & (labels <= 1))  # false for NaN
    message = f"sigjax.losses.{function}: argument 'labels' must be in [0, 1], got "
    if isinstance(inside, jax.core.Tracer):
        checkify.check(inside, message + "labels between {low} and {high}", low=low, high=high)
    elif not inside:
        raise ValueError(message + f"labels between {low:g} and {high:g}")
