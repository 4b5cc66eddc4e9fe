"""What the norms of its weights alone allow a sigmoid network's gradient to be."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..functional._arguments import check_numbers
from ..functional._messages import must
from ._double import elementwise_in_double

# The sigmoid's slope is largest at 0.
STEEPEST = 0.25


def sigmoid_gradient_bound(weight_norms: ArrayLike, *, steepest: float = STEEPEST) -> Array:
    r"""Upper bounds of the gradient's norm at each layer over that at the last one.

    From $\delta_l = \phi'(z_l) \odot W_{l+1}^\top \delta_{l+1}$ follows $\|\delta_l\| \le
    \sup|\phi'| \, \|W_{l+1}\|_2 \, \|\delta_{l+1}\|$, and with $\sup \sigma' = 1/4$

    $$\frac{\|\delta_l\|}{\|\delta_L\|} \le \prod_{k=l+1}^{L} \frac{\|W_k\|_2}{4}.$$

    A gradient can vanish however large the bound is; it must where all norms are below 4.

    Args:
      weight_norms: $\|W_2\|_2, \dots, \|W_L\|_2$, largest singular values, `[..., layers - 1]`.
      steepest: $\sup|\phi'|$: 1/4 for the logistic, 1 for tanh.

    Returns:
      $\log_{10}$ of the bounds for layers 1 to L, `[..., layers]`, the last one 0. A logarithm,
      since the bound itself leaves every dtype's range.

    Raises:
      TypeError: for what is no real numbers.
      ValueError: for masked values, or norms without an axis of layers.

    Example:
      >>> import jax.numpy as jnp
      >>> print(sigmoid_gradient_bound(jnp.array([0.4, 4.0, 0.04])).round(2))
      [-3. -2. -2.  0.]

    References:
      Hochreiter 1991, diploma thesis, TU München. Pascanu, Mikolov & Bengio 2013, ICML, PMLR
      28:1310-1318.
    """
    norms = check_numbers(weight_norms=weight_norms)["weight_norms"]
    if norms.ndim == 0:
        raise ValueError(
            must(
                "weight_norms",
                "have an axis of layers",
                "a scalar",
                of="sigjax.theory.sigmoid_gradient_bound",
            )
        )
    steps = _log10_of_product(None, norms, steepest)
    bounds = jnp.cumsum(steps[..., ::-1], -1)[..., ::-1]
    last = jnp.zeros_like(jnp.sum(steps, -1, keepdims=True))  # also where there is no step
    return jnp.concatenate([bounds, last], -1)


@elementwise_in_double
def _log10_of_product(_: None, a: Array, b: Array) -> Array:
    return jnp.log10(a * b)
