"""The unit over a sequence, a chunk at a time.

The reverse pass keeps of each chunk its inputs and its first state, and makes the gates and states
of a chunk again when it comes to it. So memory beside inputs and outputs is that of a chunk, and a
chunk's arrays stay in the cache of a CPU.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ...functional._complement import sigmoid_and_complement
from .._products import Precision, under
from .._recurrence import aligned
from ._blocks import block_product, of_blocks
from ._forgetting import forgetting
from ._linear_recurrence import combine, linear_recurrence

# Steps of a chunk. With 8 sequences of 512 features each array of a chunk has 2 MB.
CHUNK = 128

Logits = tuple[Array, Array]  # of recurrence and input gate


class Weights(NamedTuple):
    """All of a dtype in which sums are made.

    Attributes:
      log_scale: `[features]`, of the rate of forgetting.
      kernel: `[blocks, width, 2 width]`, of recurrence and input gate side by side; None where
        the pre-activations are given.
      bias: `[blocks, 2 width]`, or None.
    """

    log_scale: Array
    kernel: Array | None
    bias: Array | None


class Options(NamedTuple):
    """What is static.

    Attributes:
      dtype: of the products and of the outputs.
      precision: of the products.
      whole: whether the states are returned as they are kept, too.
    """

    dtype: Any
    precision: Precision
    whole: bool


class Given(NamedTuple):
    """What there is of each step.

    Attributes:
      x: `[time, ..., features]`.
      logits: pre-activations that layers were called for, or None.
      starts: bool `[time, ...]`, or None.
    """

    x: Array
    logits: Logits | None
    starts: Array | None


def logits_of(options: Options, weights: Weights, x: Array) -> Logits:
    """The pre-activations of recurrence and input gate, each of the shape of `x`."""
    assert weights.kernel is not None
    assert weights.bias is not None
    product = block_product(options.dtype, options.precision, x, weights.kernel)
    recurrence, entry = of_blocks(product + under(weights.bias, product), 2)
    return recurrence, entry


def step_of(options: Options, weights: Weights, given: Given) -> tuple[Array, Array]:
    """What each step forgets, and what it adds to the state."""
    x = given.x.astype(weights.log_scale.dtype)
    recurrence, entry = given.logits or logits_of(options, weights, x)
    forgotten, multiplier = forgetting(recurrence, under(weights.log_scale, recurrence))
    if given.starts is not None:
        starts = aligned(given.starts, forgotten)
        forgotten, multiplier = (jnp.where(starts, 1, part) for part in (forgotten, multiplier))
    return forgotten, multiplier * (sigmoid_and_complement(entry)[0] * x)


def one_step(options: Options, weights: Weights, first: Array, given: Given) -> Array:
    """The state after a step of which there is no time axis."""
    return combine(*step_of(options, weights, given), first)


def _chunk(
    options: Options, weights: Weights, first: Array, given: Given
) -> tuple[Array, tuple[Array, Array | None]]:
    states = linear_recurrence(*step_of(options, weights, given), first)
    return states[-1], (states.astype(options.dtype), states if options.whole else None)


@functools.partial(jax.jit, static_argnums=0)  # compiled once, outside of `jit` too
def run(
    options: Options, weights: Weights, first: Array, given: Given
) -> tuple[Array, Array, Array | None]:
    """The last state, the outputs `[time, ..., features]`, and the states if asked for."""
    steps = given.x.shape[0]
    chunk = functools.partial(_chunk, options)
    chunks, rest = divmod(steps, CHUNK)
    if chunks < 2:
        last, found = chunk(weights, first, given)
        return last, *found

    def next_chunk(state: Array, given: Given) -> tuple[Array, Any]:
        return jax.checkpoint(chunk, prevent_cse=False)(weights, state, given)

    def chunked(array: Array) -> Array:
        return array[: steps - rest].reshape(chunks, CHUNK, *array.shape[1:])

    last, found = lax.scan(next_chunk, first, jax.tree.map(chunked, given))
    found = jax.tree.map(lambda array: array.reshape(steps - rest, *array.shape[2:]), found)
    if rest:
        last, more = next_chunk(last, jax.tree.map(lambda array: array[steps - rest :], given))
        found = jax.tree.map(lambda *parts: jnp.concatenate(parts), found, more)
    return last, *found
