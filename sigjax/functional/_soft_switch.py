"""A gate: the sigmoid as a weight between two values."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ._compiled import compiled
from ._interpolation import interpolation
from ._joint import evaluate_jointly


def _value(x: Array, on: Array, off: Array) -> Array:
    nothing = jnp.zeros_like(x)
    return interpolation(0)(x, on, off, (nothing, nothing))


@compiled()
def soft_switch(x: ArrayLike, on: ArrayLike, off: ArrayLike) -> Array:
    r"""$\sigma(x)\,on + \sigma(-x)\,off$: a differentiable `where(x > 0, on, off)`.

    Args:
      x: real array or scalar, the gate's logit.
      on, off: real arrays or scalars; all shapes broadcast together.

    Returns:
      Array of the joint shape and floating dtype. A value whose weight is exactly 0 must be
      finite: 0 times infinity is NaN.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: if the shapes do not broadcast.

    Example:
      >>> import sigjax
      >>> print(sigjax.soft_switch(0.0, 3.0, 1.0))
      2.0
    """
    return evaluate_jointly("soft_switch", _value, x=x, on=on, off=off)
