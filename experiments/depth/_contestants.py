"""Ways to read the weight gradient norm of every layer of many networks, to be timed."""

import functools
import importlib.util
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from experiments.datasets.images import CLASSES, PIXELS, Batch

from ._network import SEED_AXES, PlainNetwork, Weights, cross_entropy, layer_gradients

SEEDS_FIRST = Weights(0, 0, 0)

Contestant = Callable[[], object]
"""Runs once and returns when the norms are there."""


def flops(weights: Weights, batch: Batch) -> float:
    """Three products per hidden layer: signal, cotangent, gradient of the weights."""
    depth, seeds, rows, columns = weights.hidden.shape
    return 3 * 2.0 * depth * seeds * len(batch.inputs) * rows * columns


def this_project(network: PlainNetwork, weights: Weights, batch: Batch) -> Contestant:
    """Scan with a scaled cotangent, all seeds at once."""
    run = jax.jit(jax.vmap(functools.partial(layer_gradients, network), (SEED_AXES, None)))
    return lambda: jax.block_until_ready(run(weights, batch))


def batched_product(network: PlainNetwork, weights: Weights, batch: Batch) -> Contestant:
    """Nothing but the products: three batched ones per layer, with that layer's weights."""
    kernels = list(weights.hidden)
    signal = jax.random.normal(
        jax.random.key(0), (*kernels[0].shape[:-2], len(batch.inputs), kernels[0].shape[-2])
    )
    run = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(
        [run(signal, kernel) for kernel in kernels for _ in range(3)]
    )


def plain_gradient(network: PlainNetwork, weights: Weights, batch: Batch) -> Contestant:
    """`vmap(grad(scan))` as one writes it: seeds first, then the norm of each layer."""
    seeds_first = weights._replace(hidden=jnp.array(jnp.swapaxes(weights.hidden, 0, 1)))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(SEEDS_FIRST, None))
    def norms(weights: Weights, batch: Batch) -> Array:
        gradient = jax.grad(network.loss)(weights, batch)
        return jnp.linalg.norm(gradient.hidden, axis=(1, 2))

    return lambda: jax.block_until_ready(norms(seeds_first, batch))


class _FlaxNetwork(nnx.Module):
    """A list of `nnx.Linear`, looped over in Python."""

    def __init__(self, activation: Callable, width: int, depth: int, rngs: nnx.Rngs):
        sizes = [PIXELS] + [width] * depth
        self.layers = nnx.List(
            nnx.Linear(m, n, use_bias=False, rngs=rngs) for m, n in itertools.pairwise(sizes)
        )
        self.readout = nnx.Linear(width, CLASSES, use_bias=False, rngs=rngs)
        self.activation = activation

    def __call__(self, h: Array) -> Array:
        for layer in self.layers:
            h = self.activation(layer(h))
        return self.readout(h)


def flax_loop(network: PlainNetwork, weights: Weights, batch: Batch) -> Contestant:
    """One Flax model per seed under `nnx.jit`, its layers a Python list."""
    hidden = np.asarray(weights.hidden)
    depth, seeds, width, _ = hidden.shape
    models = []
    for seed in range(seeds):
        model = _FlaxNetwork(network.activation, width, depth + 1, nnx.Rngs(0))
        kernels = [weights.input[seed], *hidden[:, seed], weights.readout[seed]]
        for layer, kernel in zip([*model.layers, model.readout], kernels, strict=True):
            layer.kernel.set_value(jnp.asarray(kernel))
        models.append(model)

    @nnx.jit
    def norms(model: _FlaxNetwork, batch: Batch) -> list[Array]:
        gradient = nnx.grad(lambda m: cross_entropy(m(batch.inputs), batch.labels))(model)
        return [jnp.linalg.norm(leaf) for leaf in jax.tree.leaves(gradient)]

    return lambda: jax.block_until_ready([norms(model, batch) for model in models])


def torch_loop(network: PlainNetwork, weights: Weights, batch: Batch) -> Contestant:
    """A PyTorch loop over layers with batched products over seeds, reading `.grad`.

    The activation is torch's sigmoid.
    """
    import torch

    # Without it the loop slows down fivefold once the cotangent is subnormal.
    torch.set_flush_denormal(True)

    def tensor(array: Array) -> torch.Tensor:
        return torch.from_numpy(np.array(array))

    hidden = [tensor(kernel).requires_grad_() for kernel in weights.hidden]
    first, readout = tensor(weights.input), tensor(weights.readout)
    inputs = tensor(batch.inputs).expand(len(first), -1, -1)
    labels = tensor(batch.labels).long().repeat(len(first))

    def run() -> list[torch.Tensor]:
        h = torch.sigmoid(torch.bmm(inputs, first))
        for kernel in hidden:
            kernel.grad = None
            h = torch.sigmoid(torch.bmm(h, kernel))
        logits = torch.bmm(h, readout).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        (loss / inputs.shape[1]).backward()
        return [torch.linalg.vector_norm(kernel.grad, dim=(1, 2)) for kernel in hidden]

    return run


CONTESTANTS: dict[str, Callable[[PlainNetwork, Weights, Batch], Contestant]] = {
    "sigjax": this_project,
    "batched matmul": batched_product,
    "vmap(grad(scan))": plain_gradient,
    "flax loop": flax_loop,
}


def contestants() -> dict[str, Callable[[PlainNetwork, Weights, Batch], Contestant]]:
    """Those that can run here: torch, where it is installed, computes on the CPU."""
    if jax.default_backend() != "cpu" or importlib.util.find_spec("torch") is None:
        return CONTESTANTS
    return {**CONTESTANTS, "torch loop": torch_loop}


BARS = {"batched matmul": 0.7, "vmap(grad(scan))": 1.6, "flax loop": 8.0, "torch loop": 1.4}
"""Time over sigjax's that each contestant is asked to take at least."""
