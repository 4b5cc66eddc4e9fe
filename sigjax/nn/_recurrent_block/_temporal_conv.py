"""A short causal convolution over time, of each feature by itself."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import Initializer

from ...functional._precision import computed_in
from .._products import under
from .._recurrence import aligned


class TemporalConv(nnx.Module):
    r"""$y_t = b + \sum_k w_{K-1-k} \odot x_{t-k}$ for $k$ from 0 to $K - 1$.

    Attributes:
      kernel: `[width, features]`, the present step last.
      bias: `[features]`.
    """

    def __init__(
        self,
        features: int,
        width: int,
        *,
        kernel_init: Initializer,
        bias_init: Initializer,
        param_dtype: Any,
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (width, features), param_dtype))
        self.bias = nnx.Param(bias_init(rngs.params(), (features,), param_dtype))

    def __call__(self, window: Array, x: Array, starts: Array | None) -> tuple[Array, Array]:
        """Convolves a sequence that goes on from a window.

        Args:
          window: the inputs before it, `[..., width - 1, features]`, 0 where there were none.
          x: `[time, ..., features]`.
          starts: bool `[time, ...]`: true where a sequence of its own starts, which sees
            nothing of what was before it.

        Returns:
          The windows after each step, `[time, ..., width - 1, features]`, and the outputs
          `[time, ..., features]`, summed in float32 at least, in the dtype of `x`.
        """
        return _convolved(self.kernel[...], self.bias[...], window, x, starts)


@jax.jit  # compiled once, outside of `jit` too
def _convolved(
    kernel: Array, bias: Array, window: Array, x: Array, starts: Array | None
) -> tuple[Array, Array]:
    wide = computed_in(x.dtype)
    width, steps = kernel.shape[0], x.shape[0]
    # On a mesh the window is divided as the inputs are.
    window = window.astype(x.dtype) + jnp.zeros_like(x[0])[..., None, :]
    line = jnp.concatenate([jnp.moveaxis(window, -2, 0), x])
    # By how many steps back.
    seen = [line[width - 1 - back :][:steps] for back in range(width)]
    if starts is not None:
        begun = jnp.zeros_like(starts)
        for back in range(1, width):
            begun |= _later(starts, back - 1)
            seen[back] = jnp.where(aligned(begun, x), 0, seen[back])
    terms = [
        under(weights, x) * past.astype(wide)
        for weights, past in zip(kernel[::-1].astype(wide), seen, strict=True)
    ]
    outputs = sum(terms, under(bias.astype(wide), x))
    return jnp.stack(seen[-2::-1], axis=-2), outputs.astype(x.dtype)


def _later(starts: Array, steps: int) -> Array:
    """Marks so many steps later; there are none before the first."""
    if not steps:
        return starts
    return jnp.concatenate([jnp.zeros_like(starts[:steps]), starts])[: len(starts)]
