"""A small causal transformer that repeats a sequence, with and without a gate behind attention."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

import sigjax.nn as snn

_TOKENS, _WIDTH, _LAYERS = 16, 32, 2


class Model(nnx.Module):
    """A causal transformer with a gate behind its attention."""

    def __init__(self, length: int, rngs: nnx.Rngs):
        self.embed = nnx.Embed(_TOKENS, _WIDTH, rngs=rngs)
        self.places = nnx.Param(0.1 * jax.random.normal(rngs.params(), (length, _WIDTH)))
        layers = range(_LAYERS)
        self.norms = nnx.List([nnx.LayerNorm(_WIDTH, rngs=rngs) for _ in range(2 * _LAYERS)])
        self.attention = nnx.List([snn.GatedAttention(2, _WIDTH, rngs=rngs) for _ in layers])
        self.wide = nnx.List([nnx.Linear(_WIDTH, 2 * _WIDTH, rngs=rngs) for _ in layers])
        self.narrow = nnx.List([nnx.Linear(2 * _WIDTH, _WIDTH, rngs=rngs) for _ in layers])
        self.head = nnx.Linear(_WIDTH, _TOKENS, rngs=rngs)

    def __call__(self, tokens: Array) -> tuple[Array, Array, Array]:
        """Logits `[batch, length, tokens]`; gates; shares of attention on the first token."""
        x = self.embed(tokens) + self.places[...]
        gates, shares = [], []
        for i in range(_LAYERS):
            outputs, opening, weights = self.attention[i](
                self.norms[2 * i](x), is_causal=True, return_gates=True, return_attention=True
            )
            x = x + outputs
            x = x + self.narrow[i](jax.nn.gelu(self.wide[i](self.norms[2 * i + 1](x))))
            gates.append(opening)
            # Of the second half, where attention has something to look for.
            shares.append(weights[..., tokens.shape[1] // 2 :, 0])
        return self.head(x), jnp.stack(gates), jnp.stack(shares)


def train(
    key: Array, has_gate: Array, *, length: int, batch: int, steps: int, learning_rate: float
) -> tuple[Array, Array, Array]:
    """The loss by step; the share of attention on the first token; the mean gate.

    Each sequence of `length` tokens has a second half that repeats its first. Without a gate its
    parameters are frozen: it is the constant factor 1/2.
    """
    parts: Any = nnx.split(Model(length, nnx.Rngs(key)), nnx.Param, ...)
    graph, start, rest = parts
    optimizer = optax.adam(learning_rate)

    def draw(key: Array) -> Array:
        half = jax.random.randint(key, (batch, length // 2), 0, _TOKENS)
        return jnp.concatenate([half, half], axis=1)

    def loss(parameters: nnx.State, tokens: Array) -> Array:
        logits, _, _ = nnx.merge(graph, parameters, rest)(tokens)
        # What follows is known from the second half on.
        given, known = logits[:, length // 2 - 1 : -1], tokens[:, length // 2 :]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(given, known))

    def step(state: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Array]:
        parameters, moments = state
        value, slope = jax.value_and_grad(loss)(parameters, draw(key))
        change, moments = optimizer.update(slope, moments)
        change = only_trained(change, has_gate)
        return (optax.apply_updates(parameters, change), moments), value

    state = start, optimizer.init(start)
    (parameters, _), losses = jax.lax.scan(step, state, jax.random.split(key, steps))
    _, gates, shares = nnx.merge(graph, parameters, rest)(draw(jax.random.fold_in(key, 1)))
    return losses, jnp.mean(shares), jnp.mean(gates)


def only_trained(change: Any, has_gate: Array) -> Any:
    """A change of all parameters, without that of the gates if there is to be none."""
    return jax.tree.map_with_path(
        lambda path, leaf: jnp.where(has_gate | ("gate" not in _names(path)), leaf, 0), change
    )


def _names(path: tuple[Any, ...]) -> list[str]:
    return [str(getattr(entry, "key", "")) for entry in path]
