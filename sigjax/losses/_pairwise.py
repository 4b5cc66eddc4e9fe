"""The pairwise sigmoid loss of two sets of embeddings (SigLIP)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional import sigmoid, softplus
from ..functional._arguments import check_integers, real_floating
from ..functional._precision import computed_in

Precision = Any


class _Sums(NamedTuple):
    """What blocks add up to: each row's loss, and the gradients of the sum of all rows."""

    loss: Array
    image: Array
    temperature: Array
    bias: Array


def _block(x, y, offset, temperature, bias, precision) -> tuple[_Sums, Array]:
    """Loss of all images with some texts; text `j` belongs to image `j + offset`.

    Returns:
      What the block adds, and the gradient for its texts.
    """
    wide = temperature.dtype
    dot = functools.partial(jnp.dot, precision=precision, preferred_element_type=wide)
    similarity = dot(x, y.T)
    logits = temperature * similarity + bias
    row, column = (lax.broadcasted_iota(jnp.int32, logits.shape, axis) for axis in range(2))
    own = row == column + offset
    wrong = jnp.where(own, -logits, logits)
    slope = sigmoid(wrong)
    slope = jnp.where(own, -slope, slope)
    # float16 has no room for the slopes of pairs that are told apart with certainty.
    factor = wide if x.dtype == jnp.float16 else x.dtype
    narrow, x, y = (array.astype(factor) for array in (slope, x, y))
    added = _Sums(
        loss=jnp.sum(softplus(wrong), axis=1),
        image=temperature * dot(narrow, y),
        temperature=jnp.sum(jnp.sum(slope * similarity, axis=1)),
        bias=jnp.sum(jnp.sum(slope, axis=1)),
    )
    return added, temperature * dot(narrow.T, x)


def _all_texts(size, precision, x, y, offset, temperature, bias, sums) -> tuple[_Sums, Array]:
    """Adds the blocks of `size` texts to `sums`; returns the gradient for the texts too."""

    def advance(sums: _Sums, block: tuple[Array, Array]) -> tuple[_Sums, Array]:
        first, texts = block
        added, gradient = _block(x, texts, offset + first, temperature, bias, precision)
        return jax.tree.map(jnp.add, sums, added), gradient

    features = y.shape[1]
    firsts = jnp.arange(0, y.shape[0], size, dtype=jnp.int32)
    sums, gradient = lax.scan(advance, sums, (firsts, y.reshape(-1, size, features)))
    return sums, gradient.reshape(y.shape)


def _loss_and_gradients(size, axis_name, precision, x, y, temperature, bias):
    """The loss and its gradients by all four arguments, those of the device's own entries."""
    wide = temperature.dtype
    sums = _Sums(
        jnp.zeros(x.shape[0], wide),
        jnp.zeros(x.shape, wide),
        jnp.zeros((), wide),
        jnp.zeros((), wide),
    )
    if axis_name is None:
        sums, text = _all_texts(size, precision, x, y, jnp.int32(0), temperature, bias, sums)
        devices = 1
    else:
        devices = lax.axis_size(axis_name)
        neighbours = [(d, (d - 1) % devices) for d in range(devices)]
        # What goes around must be of one type from the first step on.
        zero = _joint_zero(x, y, temperature, bias)
        start = (y, jnp.zeros(y.shape, wide), sums)
        start = jax.tree.map(lambda array: array + zero.astype(array.dtype), start)

        def advance(state, step):
            texts, gradient, sums = state
            # Only at home do the texts belong to these images: elsewhere to none, in row n.
            offset = jnp.where(step == 0, 0, x.shape[0])
            sums, added = _all_texts(size, precision, x, texts, offset, temperature, bias, sums)
            moved = lax.ppermute((texts, gradient + added), axis_name, neighbours)
            return (*moved, sums), None

        (_, text, sums), _ = lax.scan(advance, start, jnp.arange(devices))
    total = jnp.sum(sums.loss)
    if axis_name is not None:
        total = lax.psum(total, axis_name)
    pairs = x.shape[0] * devices
    gradients = (sums.image, text, sums.temperature, sums.bias)
    return total / pairs, tuple(gradient / pairs for gradient in gradients)


def _joint_zero(*arrays):
    """A zero that differs between the devices, as `shard_map` sees it, where any array does."""
    zeros = (jnp.where(jnp.any(jnp.isnan(array)), 0, 0) for array in arrays)
    return functools.reduce(jnp.add, zeros)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _loss(size, axis_name, precision, x, y, temperature, bias):
    return _loss_and_gradients(size, axis_name, precision, x, y, temperature, bias)[0]


@_loss.defjvp
def _(size, axis_name, precision, primals, tangents):
    loss, gradients = _loss_and_gradients(size, axis_name, precision, *primals)
    products = (jnp.sum(g * t.astype(g.dtype)) for g, t in zip(gradients, tangents, strict=True))
    tangent = functools.reduce(jnp.add, products)
    return loss, tangent if axis_name is None else lax.psum(tangent, axis_name)


def sigmoid_pairwise_loss(
    image: ArrayLike,
    text: ArrayLike,
    temperature: ArrayLike,
    bias: ArrayLike,
    *,
    chunk_size: int | None = None,
    axis_name: str | None = None,
    precision: Precision = None,
) -> Array:
    r"""Sigmoid loss of image-text pairs: every pair is a yes-or-no question of its own.

    $-\frac1N \sum_{ij} \log \sigma(\zeta_{ij}(\tau\, x_i \cdot y_j + b))$ with $\zeta_{ij} = 1$
    for $i = j$, which belong together, and $-1$ otherwise.

    The derivative is computed along with the value, block by block, so that the $N \times N$
    logits are never all there: with `chunk_size` the memory is $O(N\,(chunk + features))$, and
    nothing is computed twice. Forward and reverse mode, to any order.

    Args:
      image, text: embeddings $x$ and $y$, usually normalised, shape `[N, features]`. The result
        has their joint dtype; products of 16-bit numbers are summed in float32.
      temperature: $\tau$, the factor of the similarities (SigLIP learns its logarithm), scalar.
      bias: $b$, scalar; SigLIP starts with -10, so that few pairs look alike at first.
      chunk_size: texts per block, a divisor of `N`; None for one block.
      axis_name: inside `jax.shard_map`, the mesh axis over which both batches are split, in the
        same order. Texts travel around the devices; the result is the loss of the whole batch,
        the same on each.
      precision: of the matrix products, as in `jax.lax.dot`.

    Returns:
      Scalar.

    Raises:
      TypeError: if an argument is not a real number or array.
      ValueError: if the shapes do not fit, or `chunk_size` does not divide `N`.

    Example:
      >>> import jax, sigjax
      >>> x = jax.numpy.eye(4)
      >>> print(f"{sigjax.losses.sigmoid_pairwise_loss(x, x, 20.0, -10.0, chunk_size=2):.6f}")
      0.000182

    References:
      Zhai, Mustafa, Kolesnikov & Beyer 2023, Sigmoid Loss for Language Image Pre-Training,
      ICCV (arXiv:2303.15343), equation 1 and section 3.3.
    """
    name = "losses.sigmoid_pairwise_loss"
    x, y = (real_floating(name, n, v) for n, v in (("image", image), ("text", text)))
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(
            f"sigjax.{name}: arguments 'image' and 'text' must have one shape [N, features], "
            f"got {x.shape} and {y.shape}"
        )
    if chunk_size is not None:
        check_integers(chunk_size=chunk_size)
    size = x.shape[0] if chunk_size is None else chunk_size
    if size < 1 or x.shape[0] % size:
        raise ValueError(
            f"sigjax.{name}: argument 'chunk_size' must divide the {x.shape[0]} texts"
            f"{' of a device' if axis_name else ''}, got {chunk_size}"
        )
    dtype = jnp.promote_types(x.dtype, y.dtype)
    wide = computed_in(dtype)
    scalars = []
    for argument, value in (("temperature", temperature), ("bias", bias)):
        scalar = real_floating(name, argument, value).astype(wide)
        if scalar.ndim:
            raise ValueError(
                f"sigjax.{name}: argument '{argument}' must be a scalar, got shape {scalar.shape}"
            )
        scalars.append(scalar)
    loss = _loss(size, axis_name, precision, x.astype(dtype), y.astype(dtype), *scalars)
    return loss.astype(dtype)
