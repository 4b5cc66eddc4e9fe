"""Trains recurrent networks, several of them and many seeds at once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from experiments.harness import over_devices

from ._tasks import Task

Runner = Callable[[nnx.RNNCellBase], nnx.Module]

EMBEDDING = 16
CLIP = 1.0  # of the gradient's norm


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
    """What training gave one model.

    Attributes:
      loss: `[seed, step]`.
      right: share of right answers in each batch, before its step, `[seed, step]`.
      test: share of right answers on new sequences, after all steps, `[seed]`.
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
    make_models: Sequence[Callable[[nnx.Rngs], SequenceModel]],
    *,
    length: int,
    steps: int,
    batch: int,
    learning_rate: float,
    seeds: int,
    key: Array,
    tested: int = 1000,
) -> list[Trained]:
    """Adam with clipped gradients on fresh sequences at every step, then a test on at least
    `tested` others.

    All models and seeds are one program. Models that differ in their parameters alone go side by
    side through one computation; all models are given the same sequences.
    """
    draws, numbers = jax.random.split(key)
    rngs = [int(n) for n in jax.random.randint(numbers, (seeds,), 0, 2**31 - 1)]
    split = [[nnx.split(make(nnx.Rngs(n)), nnx.Param, ...) for n in rngs] for make in make_models]
    families: dict[Any, list[int]] = {}
    for model, by_seed in enumerate(split):
        families.setdefault(by_seed[0][0], []).append(model)
    start = [
        _stacked([_stacked([split[model][seed][1] for model in family]) for seed in range(seeds)])
        for family in families.values()
    ]
    rests = [split[family[0]][0][2:] for family in families.values()]
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(learning_rate))

    def stepper(graph: Any, rest: Any) -> Callable[..., Any]:
        def evaluate(parameters: Any, inputs: Array, targets: Array) -> tuple[Array, Array]:
            outputs = nnx.merge(graph, parameters, *rest, copy=True)(inputs)
            return jnp.mean(task.loss(outputs, targets)), jnp.mean(task.right(outputs, targets))

        def step(parameters: Any, moments: Any, inputs: Array, targets: Array, learns: Array):
            found, gradient = jax.value_and_grad(evaluate, has_aux=True)(
                parameters, inputs, targets
            )
            updates, moments = optimizer.update(gradient, moments, parameters)
            updates = jax.tree.map(lambda update: learns * update, updates)
            return (optax.apply_updates(parameters, updates), moments), found

        return jax.vmap(step, in_axes=(0, 0, None, None, None))

    steppers = [stepper(graph, rest) for graph, rest in zip(families, rests, strict=True)]
    # Tested by steps that change nothing: they take less time than to compile a test would.
    learns = jnp.arange(steps + -(-tested // batch)) < steps

    def run(parameters: list[Any], draw: Array) -> tuple[Any, Any]:
        def advance(states: list[Any], given: tuple[Array, Array]) -> tuple[list[Any], list[Any]]:
            key, learns = given
            drawn = task.draw(key, batch, length)
            advanced = [
                step(*state, *drawn, learns) for step, state in zip(steppers, states, strict=True)
            ]
            return [state for state, _ in advanced], [found for _, found in advanced]

        states = [(each, jax.vmap(optimizer.init)(each)) for each in parameters]
        keys = jax.random.split(draw, len(learns))
        states, found = jax.lax.scan(advance, states, (keys, learns.astype(jnp.float32)))
        return [parameters for parameters, _ in states], found

    after, found = over_devices(run, start, jax.random.split(draws, seeds))
    trained: dict[int, Trained] = {}
    for family, begun, ended, curves in zip(families.values(), start, after, found, strict=True):
        for place, model in enumerate(family):
            loss, right = (np.asarray(curve[..., place], np.float64) for curve in curves)
            trained[model] = Trained(
                loss[:, :steps],
                right[:, :steps],
                right[:, steps:].mean(axis=1),
                *(
                    jax.tree.map(lambda leaf, at=place: leaf[:, at], tree)
                    for tree in (begun, ended)
                ),
            )
    return [trained[model] for model in range(len(make_models))]


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
