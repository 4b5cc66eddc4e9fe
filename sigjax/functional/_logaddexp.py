"""log(e^a + e^b) and log(e^a - e^b)."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ._arguments import jointly_floating
from ._compiled import compiled
from ._log1mexp import log1mexp
from ._precision import round_once_joint
from ._sigmoid import sigmoid
from ._softplus import softplus


def difference(a: Array, b: Array) -> Array:
    """$a - b$, and 0 where both are the same infinity."""
    return jnp.where(jnp.isinf(a) & (a == b), 0, a - b)


@jax.custom_jvp
def _add(a: Array, b: Array) -> Array:
    return jnp.maximum(a, b) + softplus(-jnp.abs(difference(a, b)))


@_add.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (a, b), (da, db) = primals, tangents
    d = difference(a, b)
    return _add(a, b), da * sigmoid(d) + db * sigmoid(-d)


def _subtract(a: Array, b: Array) -> Array:
    return a + log1mexp(difference(a, b))


@compiled()
def logaddexp(a: ArrayLike, b: ArrayLike) -> Array:
    r"""$\log(e^a + e^b)$, with derivatives $\sigma(a - b)$ and $\sigma(b - a)$.

    Drop-in for `jax.numpy.logaddexp` on real numbers: there the derivative is
    `exp(a - result)`, wrong by $|a|$ ulp. The error of the value is some ulp of
    $\max(|a|, |b|)$, also where the result is near 0.

    Args:
      a, b: real arrays or scalars of shapes that broadcast together.

    Returns:
      Array of the joint shape and floating dtype; +inf if either is, -inf if both are.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: if the shapes do not broadcast.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.logaddexp(1000.0, 1000.0):.3f}")
      1000.693
    """
    return round_once_joint(_add, *jointly_floating("logaddexp", a=a, b=b))


@compiled()
def logsubexp(a: ArrayLike, b: ArrayLike) -> Array:
    r"""$\log(e^a - e^b)$ for $a \ge b$.

    The derivatives are $1/(1 - e^{b-a})$ and $-1/(e^{a-b} - 1)$. The error of the value is some
    ulp of $\max(|a|, |b|)$, also where the result is near 0.

    Args:
      a, b: real arrays or scalars of shapes that broadcast together.

    Returns:
      Array of the joint shape and floating dtype; -inf where $a = b$, NaN where $a < b$ or both
      are +inf.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: if the shapes do not broadcast.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.logsubexp(1000.0, 999.0):.4f}")
      999.5413
    """
    return round_once_joint(_subtract, *jointly_floating("logsubexp", a=a, b=b))
