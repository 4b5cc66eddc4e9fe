"""Time and memory of gradients through networks whose weights are drawn again and again.

python -m experiments.depth._footprint reads what to measure from standard input as JSON, objects
with the fields of `Size` and `rounds`, and writes what each took, a line each. It is a program of
its own because a process keeps the number of devices that it began with: that is
JAX_NUM_CPU_DEVICES in the environment.
"""

import dataclasses
import functools
import json
import math
import resource
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import sigjax
from experiments.datasets.images import CLASSES, PIXELS, gaussian
from experiments.harness import over_devices
from sigjax.probe import Scaled

from ._initializers import weight_initializer
from ._network import PlainNetwork, Weights, layer_gradients
from ._profile import log10_magnitude


@dataclasses.dataclass(frozen=True)
class Size:
    """Of the networks: hidden layers, units of each, independent ones, examples."""

    depth: int
    width: int
    seeds: int = 1
    batch: int = 32


def measure(size: Size, rounds: int) -> dict[str, float]:
    """Seconds, bytes (of one device alone), and the rate per layer, of one reading of all norms."""
    standard = weight_initializer("standard", "sigmoid")
    batch = gaussian(jax.random.key(1), size.batch)

    def draw(shape: tuple[int, int], key: Array) -> Array:
        return standard.gain * standard.kernel(key, shape, jnp.float32)

    def one(key: Array) -> Scaled:
        for_input, for_readout, for_hidden = jax.random.split(key, 3)
        weights = Weights(
            draw((PIXELS, size.width), for_input),
            jax.random.split(for_hidden, size.depth - 1),
            draw((size.width, CLASSES), for_readout),
        )
        square = functools.partial(draw, (size.width, size.width))
        network = PlainNetwork(sigjax.sigmoid)
        return layer_gradients(network, weights, batch, draw=square).preactivation

    keys = jax.random.split(jax.random.key(0), size.seeds)
    if jax.device_count() == 1:
        program: Any = jax.jit(lambda keys: jax.lax.map(one, keys)).lower(keys).compile()
        memory: Any = program.memory_analysis()
        scratch = float(memory.temp_size_in_bytes)
    else:  # each device needs what one does
        program, scratch = functools.partial(over_devices, one, one_by_one=True), math.nan
    seconds = []
    for _ in range(rounds + 1):  # the first of several devices compiles
        begun = time.perf_counter()
        norms = jax.block_until_ready(program(keys))
        seconds.append(time.perf_counter() - begun)
    log10 = log10_magnitude(norms)
    return {
        "seconds": float(np.median(seconds[1:] or seconds)),
        "bytes": scratch,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
        "log10_rate": float(np.mean(log10[:, 3] - log10[:, -4]) / (size.depth - 7)),
    }


def main() -> None:
    """Answers each size with a line as soon as it is measured."""
    for request in json.load(sys.stdin):
        rounds = request.pop("rounds")
        print(json.dumps(measure(Size(**request), rounds)), flush=True)


if __name__ == "__main__":
    main()
