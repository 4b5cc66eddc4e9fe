"""What a diagnosis costs beside the gradient that it looks at."""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import xarray as xr
from flax import nnx

from experiments.harness.stopwatch import compiling_anew
from sigjax import probe

from .architectures import ARCHITECTURES

_CALLS = 7  # of which the median is taken


def perceptron(depth: int, width: int, batch: int) -> Any:
    """A plain tanh network, its loss and a batch."""
    rngs = nnx.Rngs(0)
    layers: list[Any] = []
    for _ in range(depth):
        layers += [nnx.Linear(width, width, rngs=rngs), nnx.tanh]
    model = nnx.Sequential(*layers, nnx.Linear(width, 10, rngs=rngs))
    inputs = jax.random.normal(jax.random.key(0), (batch, width))

    def loss(model: Any, inputs: Any, labels: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(inputs), labels).mean()

    return model, loss, (inputs, jnp.zeros(batch, jnp.int32))


SUBJECTS: dict[str, Callable[[], Any]] = {
    "24 layers of 64, batch 64": lambda: perceptron(24, 64, 64),
    "48 layers of 128, batch 64": lambda: perceptron(48, 128, 64),
    "200 layers of 128, batch 64": lambda: perceptron(200, 128, 64),
    "24 layers of 256, batch 512": lambda: perceptron(24, 256, 512),
    "transformer, 4 blocks": ARCHITECTURES["pre-norm transformer"],
    "ResNet, 5 blocks": ARCHITECTURES["ResNet"],
    "GRU, 12 steps": ARCHITECTURES["GRU classifier"],
}


def price(name: str, rounds: int, seed: int) -> xr.Dataset:
    """Seconds of the first and a later call of `diagnose`, and of a step with a report in it.

    Each beside the user's own `nnx.jit(nnx.value_and_grad(loss))`, in an order drawn anew; JAX's
    caches are cleared before each first call.
    """
    generator = random.Random(seed)
    kinds = ("gradient", "diagnose", "step with a report")
    times: dict[str, dict[str, list[float]]] = {
        moment: {kind: [] for kind in kinds} for moment in ("first", "later")
    }
    with compiling_anew():
        for _ in range(rounds):
            for kind in generator.sample(kinds, len(kinds)):
                jax.clear_caches()
                call = _call(kind, *SUBJECTS[name]())
                times["first"][kind].append(_seconds(call))
                later = statistics.median(_seconds(call) for _ in range(_CALLS))
                times["later"][kind].append(later)
    return xr.Dataset(
        {
            f"{moment}_seconds": ("what", [statistics.median(found[kind]) for kind in kinds])
            for moment, found in times.items()
        },
        coords={"what": list(kinds)},
    )


def _call(kind: str, model: Any, loss: Any, batch: Any) -> Callable[[], Any]:
    def anew(model: Any, *batch: Any) -> Any:  # a new function, for which nothing is kept
        return loss(model, *batch)

    if kind == "gradient":
        gradient = nnx.jit(nnx.value_and_grad(anew))
        return lambda: gradient(model, *batch)
    if kind == "diagnose":

        def diagnosed() -> Any:
            report = probe.diagnose(model, anew, *batch)
            return report.measured, len(report.findings)

        return diagnosed
    step = nnx.jit(probe.value_and_grad(anew))
    return lambda: step(model, *batch)


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begun
