"""A gate: the sigmoid as a weight between two values."""

from jax import Array
from jax.typing import ArrayLike

from ._arguments import jointly_floating
from ._compiled import compiled
from ._precision import round_once_joint
from ._sigmoid import sigmoid


def _value(x: Array, on: Array, off: Array) -> Array:
    # sigma(-x) is not 1 - sigma(x), which is 0 in bfloat16 from x = 6.3 on.
    return sigmoid(x) * on + sigmoid(-x) * off


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
    return round_once_joint(_value, *jointly_floating("soft_switch", x=x, on=on, off=off))
