"""Trains many seeds of a recurrent network at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from experiments.harness import spread

from ._tasks import Task

Runner = Callable[[nnx.RNNCellBase], nnx.Module]

EMBEDDING = 16
CLIP = 1.0  # of the gradient's norm
_TESTED = 1000  # sequences, after training


class SequenceModel(nnx.Module):
    """Embeds, runs a cell, and reads one number off its last output, in float32."""

    def __init__(self, features: int, hidden: int, runner: Runner, make_cell, rngs: nnx.Rngs):
        self.embed = nnx.Linear(features, EMBEDDING, rngs=rngs)
        self.rnn: Any = runner(make_cell(EMBEDDING, hidden, rngs=rngs))
        self.read = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        outputs = self.rnn(self.embed(inputs))
        return self.read(outputs[:, -1].astype(jnp.float32))[:, 0]


class Trained(NamedTuple):
    """What training gave.

    Attributes:
      loss: `[seed, step]`.
      right: share of right answers in each batch, before its step, `[seed, step]`.
      test: share of right answers on new sequences, `[seed]`.
      start: the parameters before training, a tree of `[seed, ...]`.
      parameters: the same after it.
    """

    loss: np.ndarray
    right: np.ndarray
    test: np.ndarray
    start: Any
    parameters: Any


def train(
    task: Task,
    make_model: Callable[[nnx.Rngs], SequenceModel],
    *,
    length: int,
    steps: int,
    batch: int,
    learning_rate: float,
    seeds: int,
    key: Array,
) -> Trained:
    """Adam with clipped gradients, all seeds side by side, on fresh sequences at every step."""
    draws, tests = jax.random.split(key)
    numbers = [int(n) for n in jax.random.randint(key, (seeds,), 0, 2**31 - 1)]
    parts = [nnx.split(make_model(nnx.Rngs(n)), nnx.Param, ...) for n in numbers]
    graph, _, *rest = parts[0]
    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(part[1] for part in parts))
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(learning_rate))

    def evaluate(parameters, inputs, targets):
        outputs = nnx.merge(graph, parameters, *rest, copy=True)(inputs)
        return jnp.mean(task.loss(outputs, targets)), jnp.mean(task.right(outputs, targets))

    def advance(state, key):
        parameters, moments = state
        inputs, targets = task.draw(key, batch, length)
        (loss, right), gradient = jax.value_and_grad(evaluate, has_aux=True)(
            parameters, inputs, targets
        )
        updates, moments = optimizer.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), (loss, right)

    def run(parameters, draw, test):
        state = parameters, optimizer.init(parameters)
        (parameters, _), (loss, right) = jax.lax.scan(advance, state, jax.random.split(draw, steps))
        _, tested = evaluate(parameters, *task.draw(test, _TESTED, length))
        return loss, right, tested, parameters

    keys = jax.random.split(draws, seeds), jax.random.split(tests, seeds)
    *curves, trained = spread(run, parameters, *keys)
    loss, right, test = (np.asarray(part, np.float64) for part in curves)
    return Trained(loss, right, test, parameters, trained)
