"""log(e^a + e^b) and log(e^a - e^b)."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _sigmoid, _softplus_inverse
from ._compiled import compiled
from ._differences import (
    log1mexp_in_two,
    log1mexp_of_difference,
    of_difference,
    plain_difference,
    smooth,
)
from ._double_word import DoubleWord, added, difference, log1p
from ._exponentials import exp_in_two
from ._joint import evaluate_jointly

_sigmoid_of_difference = of_difference(smooth(_sigmoid.nth_derivative))
_softplus_inverse_of_difference = of_difference(smooth(_softplus_inverse.nth_derivative))


@jax.custom_jvp
def _add(a: Array, b: Array) -> Array:
    high, low = jnp.maximum(a, b), jnp.minimum(a, b)
    d, lost = plain_difference(low, high)
    t, rest = exp_in_two(d)
    return added(high, log1p(DoubleWord(t, rest + t * lost)))


@_add.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (a, b), (da, db) = primals, tangents
    of_a, of_b = (_sigmoid_of_difference(0)(*ends, None) for ends in ((a, b), (b, a)))
    return _add(a, b), da * of_a + db * of_b


@jax.custom_jvp
def _subtract(a: Array, b: Array) -> Array:
    # log(e^a - e^b) is b + log(e^(a-b) - 1), too. Both have terms that cancel where e^a - e^b is
    # 1; the smaller ones near a - b = log 2 are those of the second.
    from_b = b + _softplus_inverse_of_difference(0)(a, b, None)
    near = jnp.abs(a - b - 0.6) < 0.1
    return jnp.where(near, from_b, added(a, log1mexp_in_two(difference(a, b))))


@_subtract.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (a, b), (da, db) = primals, tangents
    of_b = log1mexp_of_difference(1)(a, b, None)
    return _subtract(a, b), da * (1 + of_b) - db * of_b


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
    return evaluate_jointly("logaddexp", _add, a=a, b=b)


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
    return evaluate_jointly("logsubexp", _subtract, a=a, b=b)
