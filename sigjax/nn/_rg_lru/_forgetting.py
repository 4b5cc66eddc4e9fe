r"""What a unit forgets, and what its input is multiplied by, with derivatives in closed form.

$a = e^{-v}$ with the rate $v = c\,\sigma(z)$. By $\log v$ the derivatives are $v\,a$ of $1 - a$ and
$a^2 v / \sqrt{1 - a^2}$ of $\sqrt{1 - a^2}$: both go to 0 with the rate, the second as
$\sqrt{v/2}$. No root's derivative is infinite, so none needs to be clipped.
"""

import jax
import jax.numpy as jnp
from jax import Array

from ...functional._complement import sigmoid_and_complement
from ...functional._softplus import SOFTPLUS

# log a = -8 r softplus(Lambda): De et al. 2024, section 2.4.
_SCALE = 8.0

_Pair = tuple[Array, Array]


def log_scale(parameter: Array) -> Array:
    r"""$\log c = \log 8 + \log \mathrm{softplus}(\Lambda)$, finite for every $\Lambda$."""
    # Below it softplus and exp are the same number.
    lowest = jnp.log(jnp.asarray(jnp.finfo(parameter.dtype).eps, parameter.dtype))
    logarithm = jnp.log(SOFTPLUS(jnp.maximum(parameter, lowest)))
    return jnp.log(jnp.asarray(_SCALE, parameter.dtype)) + jnp.where(
        parameter < lowest, parameter, logarithm
    )


@jax.custom_jvp
def forgetting(z: Array, log_scale: Array) -> tuple[Array, Array]:
    r"""$1 - a$ and $\sqrt{1 - a^2}$ with $\log a = -c\,\sigma(z)$.

    Args:
      z: pre-activation of the recurrence gate, float32 or float64.
      log_scale: $\log c$, of a shape that broadcasts.

    Returns:
      Both of the shape of `z`, each to some units in the last place.
    """
    forgotten = -jnp.expm1(-jnp.exp(log_scale) * sigmoid_and_complement(z)[0])
    return forgotten, jnp.sqrt(forgotten * (2 - forgotten))


@forgetting.defjvp
def _(primals: _Pair, tangents: _Pair) -> tuple[_Pair, _Pair]:
    (z, log_scale), (dz, dlog_scale) = primals, tangents
    forgotten, multiplier = forgetting(z, log_scale)
    gate, complement = sigmoid_and_complement(z)
    rate = jnp.exp(log_scale) * gate
    kept = jnp.exp(-rate)
    dlog_rate = complement * dz + dlog_scale
    # 0/0 where the rate is less than the smallest number
    ratio = rate / jnp.where(multiplier > 0, multiplier, 1)
    return (forgotten, multiplier), (kept * rate * dlog_rate, kept * kept * ratio * dlog_rate)
