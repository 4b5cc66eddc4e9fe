"""A linear layer whose kernel is block-diagonal."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.nn.initializers import Initializer
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from ...functional._precision import computed_in
from .._products import Precision, under


class BlockLinear(nnx.Module):
    """As many linear maps as there are blocks, each of the features of its own block.

    Attributes:
      kernel: `[num_blocks, features / num_blocks, features / num_blocks]`.
      bias: `[num_blocks, features / num_blocks]`.
    """

    def __init__(
        self,
        features: int,
        num_blocks: int,
        *,
        kernel_init: Initializer,
        bias_init: Initializer,
        dtype: Any,
        param_dtype: Any,
        precision: Precision,
        promote_dtype: Callable[..., Any],
        kernel_metadata: Mapping[str, Any],
        bias_metadata: Mapping[str, Any],
        rngs: nnx.Rngs,
    ):
        width = features // num_blocks
        kernel = kernel_init(rngs.params(), (num_blocks, width, width), param_dtype)
        bias = bias_init(rngs.params(), (num_blocks, width), param_dtype)
        self.kernel = nnx.Param(kernel, **kernel_metadata)
        self.bias = nnx.Param(bias, **bias_metadata)
        self.dtype = dtype
        self.precision = precision
        self.promote_dtype = promote_dtype

    def __call__(self, inputs: ArrayLike) -> Array:
        """Outputs `[..., features]` for inputs of that shape, in the dtype of the products."""
        x, _ = self.promote_dtype((inputs, self.kernel[...]), dtype=self.dtype)
        wide = computed_in(x.dtype)
        kernel = self.kernel[...].astype(wide)
        product = block_product(x.dtype, self.precision, x.astype(wide), kernel)
        (output,) = of_blocks(product + under(self.bias[...].astype(wide), product), 1)
        return output.astype(x.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def block_product(dtype: Any, precision: Precision, x: Array, kernel: Array) -> Array:
    """The product of each block's features and kernel, of factors rounded to `dtype`.

    Tangents are not rounded: transposed, those of a kernel would be gradients rounded after
    their sum.

    Args:
      dtype: of the factors.
      precision: of the products.
      x: `[..., features]` in the dtype of the sums.
      kernel: `[blocks, features / blocks, outputs]` in that dtype.

    Returns:
      `[..., blocks, outputs]` in that dtype.
    """
    wide = x.dtype

    def narrow(x: Array, kernel: Array) -> Array:
        return _product(x.astype(dtype), kernel.astype(dtype), precision, wide)

    def widened(x: Array, kernel: Array) -> Array:
        return _product(_rounded(x, dtype), _rounded(kernel, dtype), precision, wide)

    if dtype == wide:
        return _product(x, kernel, precision, wide)
    # A CPU has no 16-bit products, and those of 16-bit numbers are exact in float32.
    return lax.platform_dependent(x, kernel, cpu=widened, default=narrow)


@block_product.defjvp
def _(
    dtype: Any, precision: Precision, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    of_x = _product(dx, _rounded(kernel, dtype), precision, dx.dtype)
    of_kernel = _product(_rounded(x, dtype), dkernel, precision, dx.dtype)
    return block_product(dtype, precision, x, kernel), of_x + of_kernel


def of_blocks(blocks: Array, parts: int) -> list[Array]:
    """`[..., blocks, parts * width]` as so many arrays `[..., blocks * width]`."""
    return [
        part.reshape(*part.shape[:-2], part.shape[-2] * part.shape[-1])
        for part in jnp.split(blocks, parts, axis=-1)
    ]


def _product(x: Array, kernel: Array, precision: Precision, wide: Any) -> Array:
    number, width, _ = kernel.shape
    x = x.reshape(*x.shape[:-1], number, width)
    kernel = _divided_as(x, kernel)
    dimensions = ((x.ndim - 1,), (1,)), ((x.ndim - 2,), (0,))
    product = lax.dot_general(
        x, kernel, dimensions, precision=precision, preferred_element_type=wide
    )
    return jnp.moveaxis(product, 0, -2)


def _divided_as(x: Array, kernel: Array) -> Array:
    """A kernel whose blocks lie where the features of `x` are, on explicit axes of a mesh."""
    place = jax.typeof(kernel).sharding
    blocks = jax.typeof(x).sharding.spec[-2]
    if place.spec[0] == blocks:
        return kernel
    return jax.sharding.reshard(kernel, place.update(spec=P(blocks, *place.spec[1:])))


def _rounded(x: Array, dtype: Any) -> Array:
    return x.astype(dtype).astype(x.dtype)
