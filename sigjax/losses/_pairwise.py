"""The pairwise sigmoid loss of two sets of embeddings (SigLIP)."""

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.sharding import AxisType, PartitionSpec
from jax.typing import ArrayLike

from ..functional._arguments import check_integers, real_floating
from ..functional._compiled import compiled
from ..functional._messages import must
from ..functional._precision import computed_in
from ._cross_entropy import cross_entropy
from ._tail import saturate

Precision = Any

_LOSS, _SLOPE = cross_entropy(), cross_entropy(by_logit=1)


class _Way(NamedTuple):
    """How the pairs are gone through; what a compiled program is for."""

    chunk_size: int
    axis_name: str | None
    precision: Precision


class _Sums(NamedTuple):
    """What blocks add up to: each row's loss, and the gradients of the sum of all rows."""

    loss: Array
    image: Array
    temperature: Array
    bias: Array


class _Block(NamedTuple):
    """What a block of texts adds, and the gradients that are its own."""

    added: _Sums
    text: Array
    logits: Array


def _block(x, y, labels, temperature, bias, precision) -> _Block:
    """All images with some texts."""
    wide = temperature.dtype
    dot = functools.partial(jnp.dot, precision=precision, preferred_element_type=wide)
    similarity = dot(x, y.T)
    logits = temperature * similarity + bias
    slope = _SLOPE(logits, labels)
    # float16 has no room for the slopes of pairs that are told apart with certainty.
    factor = wide if x.dtype == jnp.float16 else x.dtype
    narrow, x, y = (array.astype(factor) for array in (slope, x, y))
    added = _Sums(
        loss=jnp.sum(_LOSS(logits, labels), axis=1),
        image=temperature * dot(narrow, y),
        temperature=jnp.sum(jnp.sum(slope * similarity, axis=1)),
        bias=jnp.sum(jnp.sum(slope, axis=1)),
    )
    return _Block(added, temperature * dot(narrow.T, x), logits)


def _labels(labels, shape, first, own, dtype) -> Array:
    """The labels of the texts from `first` on: those given, or that each text has one image.

    Args:
      own: the image of the first text, beyond the last one if there is none.
    """
    if labels is None:
        row, column = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in range(2))
        return (row == column + own).astype(dtype)
    return lax.dynamic_slice_in_dim(labels, first, shape[1], axis=1).astype(dtype)


def _all_texts(way, x, y, labels, at, own, temperature, bias, sums, by_label):
    """Adds the blocks of all texts to `sums`.

    Args:
      at: the column of `labels` that the first text has.
      own: see `_labels`.
      by_label: whether the gradient by the labels is wanted.

    Returns:
      The sums, the gradient for the texts, and, or None, the one for their labels.
    """
    size = way.chunk_size

    def advance(sums: _Sums, block: tuple[Array, Array]):
        first, texts = block
        shape = (x.shape[0], size)
        given = _labels(labels, shape, at + first, own + first, temperature.dtype)
        found = _block(x, texts, given, temperature, bias, way.precision)
        of_labels = -saturate(found.logits) if by_label else None
        return jax.tree.map(jnp.add, sums, found.added), (found.text, of_labels)

    blocks = y.shape[0] // size
    firsts = size * jnp.arange(blocks, dtype=jnp.int32)
    texts = y.reshape(blocks, size, y.shape[1])
    sums, (text, of_labels) = lax.scan(advance, sums, (firsts, texts))
    if by_label:
        of_labels = jnp.moveaxis(of_labels, 0, 1).reshape(x.shape[0], y.shape[0])
    return sums, text.reshape(y.shape), of_labels


def _loss_and_gradients(way, by_label, x, y, temperature, bias, labels):
    """The loss and its gradients by all arguments, those of the device's own entries."""
    wide = temperature.dtype
    sums = _Sums(
        jnp.zeros(x.shape[0], wide),
        jnp.zeros(x.shape, wide),
        jnp.zeros((), wide),
        jnp.zeros((), wide),
    )
    everything = functools.partial(_all_texts, way, x)
    if way.axis_name is None:
        sums, text, of_labels = everything(
            y, labels, jnp.int32(0), jnp.int32(0), temperature, bias, sums, by_label
        )
        devices = 1
    else:
        devices = lax.axis_size(way.axis_name)
        here = lax.axis_index(way.axis_name)
        neighbours = [(d, (d - 1) % devices) for d in range(devices)]
        # What goes around must be of one type from the first step on.
        zero = _joint_zero(x, y, temperature, bias, labels)
        shape = (x.shape[0], y.shape[0] * devices) if by_label else ()
        start = (y, jnp.zeros(y.shape, wide), sums, jnp.zeros(shape, wide))
        start = jax.tree.map(lambda array: array + zero.astype(array.dtype), start)

        def advance(state, step):
            texts, gradient, sums, of_labels = state
            # At step 0 this device holds the texts of its own images, later those of the device so
            # many places on. None of these has its image here: `own` is then beyond the last row.
            own = jnp.where(step == 0, 0, x.shape[0])
            at = (here + step) % devices * y.shape[0]
            sums, added, columns = everything(
                texts, labels, at, own, temperature, bias, sums, by_label
            )
            if by_label:
                of_labels = lax.dynamic_update_slice_in_dim(of_labels, columns, at, axis=1)
            moved = lax.ppermute((texts, gradient + added), way.axis_name, neighbours)
            return (*moved, sums, of_labels), None

        (_, text, sums, of_labels), _ = lax.scan(advance, start, jnp.arange(devices))
    total = jnp.sum(sums.loss)
    if way.axis_name is not None:
        total = lax.psum(total, way.axis_name)
    images = x.shape[0] * devices
    gradients = [sums.image, text, sums.temperature, sums.bias]
    if by_label:
        gradients.append(of_labels)
    return total / images, [gradient / images for gradient in gradients]


def _joint_zero(*arrays):
    """A zero that differs between the devices, as `shard_map` sees it, where any array does."""
    zeros = (jnp.where(jnp.any(jnp.isnan(array)), 0, 0) for array in arrays if array is not None)
    return functools.reduce(jnp.add, zeros)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _loss(way, *arguments):
    return _loss_and_gradients(way, False, *arguments)[0]


def _rule(way, primals, tangents):
    if primals[-1] is None:
        tangents = tangents[:-1]
    by_label = len(tangents) == 5 and not isinstance(tangents[-1], SymbolicZero)
    loss, gradients = _loss_and_gradients(way, by_label, *primals)
    products = [
        jnp.sum(gradient * tangent.astype(gradient.dtype))
        for gradient, tangent in zip(gradients, tangents, strict=False)
        if not isinstance(tangent, SymbolicZero)
    ]
    tangent = functools.reduce(jnp.add, products) if products else jnp.zeros_like(loss)
    return loss, tangent if way.axis_name is None else lax.psum(tangent, way.axis_name)


_loss.defjvp(_rule, symbolic_zeros=True)


def _on_any_mesh(way: _Way, *arguments: Array | None) -> Array:
    """Leaves the sharding of products of two batches to the compiler.

    With explicit axes a matrix of pairs would have both sides split over the same one.
    """
    loss = functools.partial(_loss, way)
    for array in arguments:
        mesh = None if array is None else jax.typeof(array).sharding.mesh
        if mesh is not None and AxisType.Explicit in mesh.axis_types:
            # No mesh need be set where arrays have one.
            with jax.sharding.use_abstract_mesh(mesh):
                return jax.sharding.auto_axes(loss, out_sharding=PartitionSpec())(*arguments)
    return loss(*arguments)


@compiled("chunk_size", "axis_name", "precision")
def sigmoid_pairwise_loss(
    image: ArrayLike,
    text: ArrayLike,
    temperature: ArrayLike,
    bias: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    chunk_size: int | None = None,
    axis_name: str | None = None,
    precision: Precision = None,
) -> Array:
    r"""Sigmoid loss of image-text pairs: every pair is a yes-or-no question of its own.

    The cross-entropy of the logits $z_{ij} = \tau\, x_i \cdot y_j + b$ with labels $l_{ij}$,
    summed over the texts $j$ and averaged over the images $i$:
    $-\frac1N \sum_{ij} l_{ij} \log \sigma(z_{ij}) + (1 - l_{ij}) \log \sigma(-z_{ij})$. Without
    labels an image and a text belong together where $i = j$.

    The derivative is computed along with the value, block by block, so that the $N \times M$
    logits are never all there: with `chunk_size` the memory is $O((N + M)\,features + N\,chunk)$,
    and nothing is computed twice. Forward and reverse mode, to any order.

    Args:
      image: embeddings $x$, usually normalised, shape `[N, features]`.
      text: embeddings $y$, shape `[M, features]`; without labels $M = N$. The result has the
        joint dtype of both; products of 16-bit numbers are summed in float32.
      temperature: $\tau$, the factor of the similarities (SigLIP learns its logarithm), scalar.
      bias: $b$, scalar; SigLIP starts with -10, so that few pairs look alike at first.
      labels: $l$, 0, 1 or probabilities of any real or boolean dtype, shape `[N, M]`: an image
        may have several texts, or none. Their gradient, if it is asked for, is as large as they.
      chunk_size: texts per block, a divisor of `M`; None for one block.
      axis_name: inside `jax.shard_map`, the mesh axis over which both batches are split, in the
        same order. Texts travel around the devices; the result is the loss of the whole batch,
        the same on each. Labels are split by their images alone: a device has
        `[N of its own, all M]`, the columns in the order of the whole batch.
      precision: of the matrix products, as in `jax.lax.dot`.

    Returns:
      Scalar. On a mesh with explicit axes the compiler chooses how pairs are split.

    Raises:
      TypeError: if an argument is not a real number or array.
      ValueError: if the shapes do not fit, or `chunk_size` does not divide `M`.

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
    expected, fits = "one shape [N, features]", x.shape == y.shape
    if labels is not None:
        expected, fits = "shapes [N, features] and [M, features]", x.shape[1:] == y.shape[1:]
    if x.ndim != 2 or y.ndim != 2 or not fits:
        raise ValueError(
            must(
                ("image", "text"),
                f"have {expected}",
                f"{x.shape} and {y.shape}",
                of=f"sigjax.{name}",
            )
        )
    if chunk_size is not None:
        check_integers(chunk_size=chunk_size)
    size = y.shape[0] if chunk_size is None else operator.index(chunk_size)
    if size < 1 or y.shape[0] % size:
        raise ValueError(
            must(
                "chunk_size",
                f"divide the {y.shape[0]} texts{' of a device' if axis_name else ''}",
                chunk_size,
                of=f"sigjax.{name}",
            )
        )
    dtype = jnp.promote_types(x.dtype, y.dtype)
    wide = computed_in(dtype)
    scalars = []
    for argument, value in (("temperature", temperature), ("bias", bias)):
        scalar = real_floating(name, argument, value).astype(wide)
        if scalar.ndim:
            raise ValueError(
                must(argument, "be a scalar", f"shape {scalar.shape}", of=f"sigjax.{name}")
            )
        scalars.append(scalar)
    if labels is not None:
        labels = _checked_labels(name, labels, x.shape[0], y.shape[0], axis_name)
    way = _Way(size, axis_name, precision)
    loss = _on_any_mesh(way, x.astype(dtype), y.astype(dtype), *scalars, labels)
    return loss.astype(dtype)


def _checked_labels(
    function: str, labels: ArrayLike, images: int, texts: int, axis_name: str | None
) -> Array:
    array = real_floating(function, "labels", labels)
    if jnp.asarray(labels).dtype == jnp.bool_:
        array = jnp.asarray(labels)  # a quarter of the memory, and no derivative
    expected = (images, texts * (1 if axis_name is None else lax.axis_size(axis_name)))
    if array.shape != expected:
        whole = "" if axis_name is None else ", the texts of all devices for the images of one"
        raise ValueError(
            must(
                "labels",
                f"have shape [N, M] = {expected}{whole}",
                array.shape,
                of=f"sigjax.{function}",
            )
        )
    return array
