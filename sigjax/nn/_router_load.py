"""How many tokens each expert gets, and the bias that evens them out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from ..functional._messages import must


class RouterBias(nnx.Variable):
    """What is added to each expert's affinity when experts are chosen, `[num_experts]`.

    No `nnx.Param`: neither gradients nor optimisers know it.
    """


class RouterLoad(NamedTuple):
    """Of how many tokens each expert was chosen; loads of microbatches or devices add up.

    Attributes:
      counts: int32, `[..., num_experts]`, tokens that chose an expert.
      dropped: of these, those for which it had no place; the same shape and dtype.
    """

    counts: Array
    dropped: Array

    @property
    def max_over_mean(self) -> Array:
        """The largest count over the mean, float32: 1 if all are equal, 0 of no tokens."""
        largest = jnp.max(self.counts, axis=-1).astype(jnp.float32)
        total = jnp.maximum(jnp.sum(self.counts, axis=-1), 1).astype(jnp.float32)
        return largest * self.counts.shape[-1] / total

    @property
    def dropped_share(self) -> Array:
        """The share of choices that were dropped, float32."""
        total = jnp.maximum(jnp.sum(self.counts, axis=-1), 1).astype(jnp.float32)
        return jnp.sum(self.dropped, axis=-1).astype(jnp.float32) / total


def counts_of(experts: Array, num_experts: int) -> Array:
    """How many tokens have each expert among theirs, `[..., k]`, int32; `num_experts` is none."""
    has = jnp.any(jax.nn.one_hot(experts, num_experts, dtype=jnp.bool_), axis=-2)
    return jnp.sum(has, axis=tuple(range(has.ndim - 1)), dtype=jnp.int32)


def update_router_bias(bias: ArrayLike, counts: ArrayLike, *, rate: float = 0.001) -> Array:
    r"""$b_i + \gamma\,\mathrm{sign}(\bar c - c_i)$: a step towards equal loads.

    The sign is exact: the mean is compared in integers.

    Args:
      bias: $b$, floating, `[..., num_experts]`.
      counts: $c$, integers of that shape: `RouterLoad.counts`, summed over devices and
        microbatches that share the bias.
      rate: $\gamma$; .001 is Wang et al.'s and DeepSeek-V3's.

    Returns:
      The new bias, of the shape and dtype of `bias`.

    Raises:
      TypeError: if `counts` are not integers.

    Example:
      >>> import jax.numpy as jnp
      >>> print(update_router_bias(jnp.zeros(3), jnp.array([5, 3, 1]), rate=0.5))
      [-0.5  0.   0.5]

    References:
      Wang, Gao, Zhao, Sun & Dai 2024, Auxiliary-Loss-Free Load Balancing Strategy for
      Mixture-of-Experts (arXiv:2408.15664), algorithm 1.
    """
    bias, counts = jnp.asarray(bias), jnp.asarray(counts)
    if not jnp.issubdtype(counts.dtype, jnp.integer):
        raise TypeError(
            must(
                "counts",
                "be integers",
                f"dtype {counts.dtype.name}",
                of="sigjax.nn.update_router_bias",
            )
        )
    total = jnp.sum(counts, axis=-1, keepdims=True, dtype=counts.dtype)
    whole, rest = jnp.divmod(total, counts.shape[-1])
    # The mean is whole + rest / num_experts: above a count of `whole` if there is a rest.
    direction = jnp.sign(whole - counts) + ((counts == whole) & (rest > 0)).astype(counts.dtype)
    return bias + direction.astype(bias.dtype) * jnp.asarray(rate, bias.dtype)
