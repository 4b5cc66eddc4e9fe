"""An actor with its critic, a variational autoencoder, experts, and a dict of arrays."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ._common import KEY, TARGETS, VECTORS, WIDTH, Feed, cross_entropy


class ActorCritic(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.torso = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(2)])
        self.actor = nnx.Linear(WIDTH, 4, rngs=rngs)
        self.critic = nnx.Sequential(
            nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.tanh, nnx.Linear(WIDTH, 1, rngs=rngs)
        )

    def __call__(self, x: Array) -> tuple[Array, Array]:
        for layer in self.torso:
            x = nnx.tanh(layer(x))
        return jax.nn.log_softmax(self.actor(x)), self.critic(x)[..., 0]


def advantage_loss(model: Any, observations: Array, actions: Array, returns: Array) -> Array:
    log_probabilities, values = model(observations)
    advantage = jax.lax.stop_gradient(returns - values)
    chosen = jnp.take_along_axis(log_probabilities, actions[:, None], 1)[:, 0]
    entropy = -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, -1)
    policy = -jnp.mean(chosen * advantage) - 0.01 * jnp.mean(entropy)
    return policy + 0.5 * jnp.mean((returns - values) ** 2)


class Autoencoder(nnx.Module):
    """A variational one (Kingma & Welling 2014)."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0, noise=1)
        self.rngs = rngs
        self.encoder = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.mean = nnx.Linear(WIDTH, 8, rngs=rngs)
        self.log_variance = nnx.Linear(WIDTH, 8, rngs=rngs)
        self.decoder = nnx.Linear(8, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def encode(self, x: Array) -> tuple[Array, Array]:
        h = nnx.relu(self.encoder(x))
        return self.mean(h), self.log_variance(h)

    def decode(self, z: Array) -> Array:
        return nnx.sigmoid(self.out(nnx.relu(self.decoder(z))))


def evidence(model: Any, x: Array) -> Array:
    mean, log_variance = model.encode(x)
    noise = jax.random.normal(model.rngs.noise(), mean.shape)
    found = model.decode(mean + jnp.exp(log_variance / 2) * noise)
    divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - log_variance - 1, -1)
    return jnp.mean(jnp.sum((found - x) ** 2, -1) + divergence)


class Experts(nnx.Module):
    """A mixture of experts, two of four for each input."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.stem = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.router = nnx.Linear(WIDTH, 4, rngs=rngs)
        self.experts = nnx.List([Feed(WIDTH, rngs) for _ in range(4)])
        self.head = nnx.Linear(WIDTH, 2, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.stem(x))
        values, chosen = jax.lax.top_k(jax.nn.softmax(self.router(x)), 2)
        weights = values / jnp.sum(values, -1, keepdims=True)
        shares = jnp.sum(jax.nn.one_hot(chosen, 4) * weights[..., None], -2)
        every = jnp.stack([expert(x) for expert in self.experts], -1)
        return self.head(x + jnp.einsum("bde,be->bd", every, shares))


def dict_of_arrays() -> Any:
    keys = jax.random.split(KEY, 4)
    sizes = [WIDTH, 64, 64, 64, 2]
    layers = {
        f"linear_{i}": {
            "w": jax.random.normal(key, (a, b)) * (2 / a) ** 0.5,
            "b": jnp.zeros(b),
        }
        for i, (key, a, b) in enumerate(zip(keys, sizes, sizes[1:], strict=False))
    }

    def loss(parameters: Any, x: Array, labels: Array) -> Array:
        *hidden, last = parameters.values()
        for layer in hidden:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return cross_entropy(x @ last["w"] + last["b"], labels)

    return layers, loss, (VECTORS, TARGETS)
