"""The logarithm of a difference of two sigmoids: a cell of an ordered logistic model."""

from jax import Array
from jax.typing import ArrayLike

from ._arguments import jointly_floating
from ._compiled import compiled
from ._log1mexp import log1mexp
from ._logaddexp import difference
from ._precision import round_once_joint
from ._softplus import log_sigmoid


def _value(a: Array, b: Array) -> Array:
    # All three logarithms are at most 0: nothing cancels, however close or far a and b are.
    return (log_sigmoid(a) + log_sigmoid(-b)) + log1mexp(difference(a, b))


@compiled()
def log_sigmoid_diff(a: ArrayLike, b: ArrayLike) -> Array:
    r"""$\log(\sigma(a) - \sigma(b))$ for $a \ge b$.

    Computed as $\log\sigma(a) + \log\sigma(-b) + \log(1 - e^{b-a})$.

    Args:
      a, b: real arrays or scalars of shapes that broadcast together.

    Returns:
      Array of the joint shape and floating dtype; -inf where $a = b$, NaN where $a < b$.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: if the shapes do not broadcast.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.log_sigmoid_diff(51.0, 50.0):.4f}")
      -50.4587

    References:
      McCullagh 1980, Journal of the Royal Statistical Society B 42:109-142.
    """
    return round_once_joint(_value, *jointly_floating("log_sigmoid_diff", a=a, b=b))
