"""Plain networks, and the norm of the gradient at each of their layers at any depth."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.nn.initializers import Initializer

from experiments.datasets.images import Batch
from sigjax.probe import Scaled, normalized

from ._normalization import no_norm


class Weights(NamedTuple):
    """Kernels of a network without biases, or what describes them, kernel by kernel.

    Attributes:
      input: `[inputs, width]`, layer 1.
      hidden: `[depth - 1, width, width]`, layers 2 to depth; or their keys, `[depth - 1]`.
      readout: `[width, classes]`.
    """

    input: Any
    hidden: Any
    readout: Any


# Seeds stand behind the layers, so that a scan over layers reads contiguous memory: with
# the seeds in front it would have to copy all the weights first.
SEED_AXES = Weights(input=0, hidden=1, readout=0)


class LayerGradients(NamedTuple):
    r"""Norms of the gradients of the loss, `[depth]` each, layer 1 first.

    Attributes:
      weight: $\|\partial L/\partial W_l\|_F$.
      preactivation: $\|\partial L/\partial z_l\|_F$, over batch and units.
    """

    weight: Scaled
    preactivation: Scaled


@dataclasses.dataclass(frozen=True)
class PlainNetwork:
    r"""$h_l = \phi(\mathrm{norm}(z_l)) \,[+\, h_{l-1}]$ with $z_l = h_{l-1} W_l$.

    The first layer changes the width and has no residual link; a linear readout follows the
    last. The loss is softmax cross-entropy, averaged over the batch.
    """

    activation: Callable[[Array], Array]
    norm: Callable[[Array], Array] = no_norm
    residual: bool | Array = False

    def transfer(self, z: Array, skip: Array) -> Array:
        """What happens between two matrix products; both arguments `[batch, width]`."""
        h = self.activation(self.norm(z))
        return h if self.residual is False else jnp.where(self.residual, h + skip, h)

    def loss(self, weights: Weights, batch: Batch) -> Array:
        """The loss as one would write it for `jax.grad`."""

        def layer(h: Array, kernel: Array) -> tuple[Array, None]:
            return self.transfer(h @ kernel, h), None

        first = self.activation(self.norm(batch.inputs @ weights.input))
        last, _ = lax.scan(layer, first, weights.hidden)
        return cross_entropy(last @ weights.readout, batch.labels)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean softmax cross-entropy of logits `[batch, classes]`."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -jnp.mean(chosen)


def draw_weights(
    key: Array,
    kernel: Initializer,
    gain: float,
    *,
    seeds: int,
    depth: int,
    width: int,
    inputs: int,
    classes: int,
) -> Weights:
    """Draws `seeds` independent networks, float32, with `SEED_AXES`.

    The readout is standard for all, so that the same gradient enters every network from above.
    """
    input_key, readout_key, *hidden_keys = jax.random.split(key, depth + 1)
    # One program per shape serves every depth; its results wait for each other because batched
    # QR factorisations that run side by side hang on two cores (jaxlib 0.10.2, CPU).
    hidden = np.empty((depth - 1, seeds, width, width), np.float32)
    for layer, layer_key in enumerate(hidden_keys):
        hidden[layer] = _draw(kernel, layer_key, seeds, (width, width))
    hidden *= gain
    first = jax.block_until_ready(_draw(kernel, input_key, seeds, (inputs, width)))
    readout = _draw(_READOUT, readout_key, seeds, (width, classes))
    return Weights(first * gain, jnp.asarray(hidden), readout)


_READOUT = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _draw(kernel: Initializer, key: Array, seeds: int, shape: tuple[int, int]) -> Array:
    keys = jax.random.split(key, seeds)
    return jax.vmap(lambda key: kernel(key, shape, jnp.float32))(keys)


def layer_gradients(
    network: PlainNetwork,
    weights: Weights,
    batch: Batch,
    *,
    depth: Array | None = None,
    draw: Callable[[Array], Array] | None = None,
) -> LayerGradients:
    r"""Norm of the gradient at every layer, at any depth, without underflow.

    The cotangent travels backwards as a mantissa whose largest element is near 1, with its
    power of two apart, and is renormalised at every layer. No gradient of all the weights is
    ever held: a layer's is reduced to its norm as soon as it is known.

    Args:
      network: the architecture.
      weights: its kernels.
      batch: inputs and labels.
      depth: int32 scalar, how many of the layers the network has; if not given, all. One program
        serves every depth, and layers beyond it cost nothing.
      draw: if given, `weights.hidden` holds a key for each layer, and this makes the kernel of
        one. Kernels are drawn again on the way back, and only the signals of all layers are
        kept, `[depth, batch, width]`: no more of the memory depends on the depth.

    Returns:
      `LayerGradients`, zeros beyond `depth`. Up to there a mantissa of 0 says that the gradient is
      0 in exact arithmetic, or that a layer's signal or slope (not its gradient) underflowed: in
      float32 that of a sigmoid whose pre-activations are all beyond 87 in size.
    """
    count = weights.hidden.shape[0]
    layers = jnp.arange(count)
    nothing = LayerGradients(*[Scaled(jnp.float32(0), jnp.int32(0))] * 2)

    def if_there(layer: Array, step: Callable, otherwise: Callable, carry: Any) -> Any:
        if depth is None:
            return step(carry)
        return lax.cond(layer < depth - 1, step, otherwise, carry)

    def forward(h: Array, at: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array | None]]:
        layer, hidden = at

        def step(h: Array) -> tuple[Array, tuple[Array, Array | None]]:
            z = h @ (hidden if draw is None else draw(hidden))
            return network.transfer(z, h), (h, z if draw is None else None)

        return if_there(layer, step, lambda h: (h, (h, h if draw is None else None)), h)

    def backward(
        upper: Scaled, at: tuple[Array, Array, Array, Array | None]
    ) -> tuple[Scaled, LayerGradients]:
        layer, hidden, h, z = at

        def step(upper: Scaled) -> tuple[Scaled, LayerGradients]:
            kernel = hidden if draw is None else draw(hidden)
            _, pullback = jax.vjp(network.transfer, h @ kernel if z is None else z, h)
            at_z, at_skip = pullback(upper.mantissa)
            delta = normalized(at_z)
            lower = delta.mantissa @ kernel.T
            if network.residual is not False:
                lower += jnp.ldexp(at_skip, -delta.exponent)
            norms = _layer_norms(h, delta, upper.exponent)
            return Scaled(lower, upper.exponent + delta.exponent), norms

        return if_there(layer, step, lambda upper: (upper, nothing), upper)

    first, first_pullback = jax.vjp(
        lambda z: network.activation(network.norm(z)), batch.inputs @ weights.input
    )
    last, (signals, preactivations) = lax.scan(forward, first, (layers, weights.hidden))
    at_last = jax.grad(lambda h: cross_entropy(h @ weights.readout, batch.labels))(last)
    lowest, norms = lax.scan(
        backward,
        normalized(at_last),
        (layers, weights.hidden, signals, preactivations),
        reverse=True,
    )
    (at_first,) = first_pullback(lowest.mantissa)
    first_norms = _layer_norms(batch.inputs, normalized(at_first), lowest.exponent)
    return jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), first_norms, norms)


def _layer_norms(h: Array, delta: Scaled, exponent: Array) -> LayerGradients:
    """Norms at one layer with input `h` and cotangent `delta` times $2^{exponent}$."""
    signal = normalized(h)
    preactivation = jnp.sqrt(jnp.sum(jnp.square(delta.mantissa)))
    weight = _norm_of_outer_sum(signal.mantissa, delta.mantissa)
    exponent = exponent + delta.exponent
    return LayerGradients(
        Scaled(weight, exponent + signal.exponent), Scaled(preactivation, exponent)
    )


def _norm_of_outer_sum(h: Array, delta: Array) -> Array:
    r"""$\|h^\top \delta\|_F$ of `[batch, m]` and `[batch, n]`.

    For a small batch through $\|h^\top\delta\|_F^2 = \sum (hh^\top) \circ
    (\delta\delta^\top)$, which costs `batch^2 (m + n)` products instead of `batch m n`.
    """
    batch, m = h.shape
    n = delta.shape[1]
    if batch * (m + n) <= m * n:
        square = jnp.sum((h @ h.T) * (delta @ delta.T))
        return jnp.sqrt(jnp.maximum(square, 0))
    return jnp.sqrt(jnp.sum(jnp.square(h.T @ delta)))
