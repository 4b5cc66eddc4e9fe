"""Trains Glorot & Bengio's networks, and watches their layers saturate."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

import sigjax
from experiments.datasets import images, shapeset
from experiments.datasets.images import Batch

from ._network import cross_entropy
from ._signals_at_start import OBSERVED, limits

# Activation and number of hidden layers of the networks that are trained.
TRAINED = (("sigmoid", 4), ("sigmoid", 5), ("tanh", 5), ("softsign", 5))
ACTIVATIONS = {"sigmoid": sigjax.sigmoid, "tanh": jnp.tanh, "softsign": jax.nn.soft_sign}
CLASSES = {"shapes": shapeset.CLASSES, "digits": images.CLASSES}
BLOCKS = 50  # times at which the layers are looked at

# Kernel and biases of each layer, from the first to the readout. They are arrays of their own, not
# slices of one, and depth and activation are fixed in each program: a step is five times as fast
# as in one program for all networks, which copies the kernels around its loop over layers.
Layers = Sequence[tuple[Array, Array]]


class Watched(NamedTuple):
    """What was seen before each block of steps.

    Attributes:
      mean: activation, `[block, layer]`, from the first hidden layer to the last.
      percentile: 98th, of |activation|, `[block, layer]`.
      moved: distance of a layer's kernel from its start over its norm there (Frobenius),
        `[block, layer]`.
      accuracy: on the 300 images that are followed, `[block]`.
    """

    mean: Array
    percentile: Array
    moved: Array
    accuracy: Array


def forward(layers: Layers, x: Array, activation: Callable[[Array], Array]) -> list[Array]:
    """The activations of every hidden layer `[batch, width]`, and the logits as the last entry."""
    *hidden, (readout, offset) = layers
    found = []
    for kernel, bias in hidden:
        x = activation(x @ kernel + bias)
        found.append(x)
    return [*found, x @ readout + offset]


def trainer(
    key: Array, data: Literal["shapes", "digits"], *, width: int, steps: int, batch: int
) -> Callable[[str, int, float], Watched]:
    """What trains a network of an activation, a number of hidden layers and a learning rate.

    Standard weights, biases 0, plain stochastic gradient descent. Every network starts from the
    same random numbers and sees the same images.
    """
    for_data, for_weights, for_steps = jax.random.split(key, 3)
    observed, draw = _source(data, for_data, batch)
    inputs = observed.inputs.shape[1]

    def start(depth: int) -> Layers:
        sizes = (inputs, *[width] * depth, CLASSES[data])
        layers = []
        for number, shape in enumerate(itertools.pairwise(sizes)):
            limit = limits(*shape)["standard"]
            draws = jax.random.uniform(
                jax.random.fold_in(for_weights, number), shape, minval=-limit, maxval=limit
            )
            layers.append((draws, jnp.zeros(shape[1])))
        return layers

    # A program of its own, which is compiled once for all networks.
    draw_block = jax.jit(functools.partial(lax.map, draw))

    @functools.partial(jax.jit, static_argnums=0)
    def block(
        activation: str, rate: float, begun: Layers, layers: Layers, seen: Batch
    ) -> tuple[Layers, Watched]:
        optimizer = optax.sgd(rate)
        function = ACTIVATIONS[activation]

        def step(layers: Layers, seen: Batch) -> tuple[Layers, None]:
            def loss(layers: Layers) -> Array:
                return cross_entropy(forward(layers, seen.inputs, function)[-1], seen.labels)

            updates, _ = optimizer.update(jax.grad(loss)(layers), optimizer.init(layers))
            return optax.apply_updates(layers, updates), None

        *hidden, logits = forward(layers, observed.inputs, function)
        right = jnp.argmax(logits, -1) == observed.labels
        activations = jnp.stack(hidden)
        watched = Watched(
            mean=jnp.mean(activations, (1, 2)),
            percentile=jnp.percentile(jnp.abs(activations), 98, axis=(1, 2)),
            moved=jnp.stack(
                [
                    jnp.linalg.norm(kernel - first) / jnp.linalg.norm(first)
                    for (kernel, _), (first, _) in zip(layers[:-1], begun[:-1], strict=True)
                ]
            ),
            accuracy=jnp.mean(right.astype(jnp.float32)),
        )
        return lax.scan(step, layers, seen)[0], watched

    def run(activation: str, depth: int, rate: float) -> Watched:
        begun = layers = start(depth)
        found = []
        for keys in jax.random.split(for_steps, (BLOCKS, max(1, steps // BLOCKS))):
            layers, watched = block(activation, rate, begun, layers, draw_block(keys))
            found.append(watched)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    return run


def _source(data: str, key: Array, batch: int) -> tuple[Batch, Callable[[Array], Batch]]:
    """Images that are followed, and how to draw those of a step."""
    if data == "shapes":
        observed = shapeset.shapes(key, OBSERVED)
        return observed, lambda key: shapeset.shapes(key, batch)
    everything = images.digits(key, images.DIGITS)
    observed = Batch(everything.inputs[:OBSERVED], everything.labels[:OBSERVED])

    def draw(key: Array) -> Batch:
        chosen = jax.random.randint(key, (batch,), OBSERVED, images.DIGITS)
        return Batch(everything.inputs[chosen], everything.labels[chosen])

    return observed, draw
