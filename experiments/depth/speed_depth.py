"""How fast the depth sweep runs, beside the ways one would write it otherwise.

Figure: none of a paper's; time of one reading of all weight gradient norms, for networks of
depth 64, width 256, batch 128 and 16 seeds, and compile time against depth.
Command: python -m experiments run speed_depth [--preset quick|paper]
Time: quick 20 s, paper 90 s (2 CPU cores).
Must show: the scan with a scaled cotangent at 0.70 of a bare batched product's rate or more,
1.6 times as fast as `vmap(grad(scan))`; a thousand layers compile in 1.5 times the time of ten.

Every contestant runs once per round, in an order drawn anew each round, in one process, after a
first call that is timed apart and includes its compilation.
"""

import dataclasses
import functools
import time
from typing import Annotated, Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

import sigjax
from experiments.datasets.images import CLASSES, PIXELS, Batch, digits
from experiments.harness import Claim, Settings, Within, reported
from experiments.harness.stopwatch import compiling_anew
from experiments.harness.style import MEANING

from ._contestants import BARS, contestants, flops
from ._initializers import weight_initializer
from ._network import (
    SEED_AXES,
    PlainNetwork,
    Weights,
    draw_weights,
    layer_gradients,
)

TIMED = True
OURS = "sigjax"


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """The size of the networks, and how often each contestant runs."""

    depth: int = 64
    """Hidden layers with square weights."""
    width: int = 256
    """Units per layer."""
    batch: int = 128
    """Examples per gradient."""
    seeds: int = 16
    """Independent networks."""
    rounds: int = 3
    """Timed runs of each contestant."""
    compile_depths: Annotated[tuple[int, ...], Within(2)] = (10, 100, 1000)
    """Numbers of layers for which the compilation is timed."""

    @classmethod
    def quick(cls) -> "Config":
        """Three rounds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Enough rounds for a steady median."""
        return cls(rounds=31)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Times every contestant, and the compilation of ours."""
    order_key, weight_key, data_key = jax.random.split(key, 3)
    kernel, gain = weight_initializer("standard", "sigmoid")
    weights = draw_weights(
        weight_key,
        kernel,
        gain,
        seeds=config.seeds,
        depth=config.depth + 1,
        width=config.width,
        inputs=PIXELS,
        classes=CLASSES,
    )
    batch = digits(data_key, config.batch)
    network = PlainNetwork(sigjax.sigmoid)
    running = {name: make(network, weights, batch) for name, make in contestants().items()}
    names = list(running)
    first_call = [_seconds(running[name]) for name in names]
    seconds = np.empty((len(names), config.rounds))
    for turn in range(config.rounds):
        for index in jax.random.permutation(jax.random.fold_in(order_key, turn), len(names)):
            seconds[index, turn] = _seconds(running[names[index]])
    with compiling_anew():
        compiled = [_compilation(network, depth, config) for depth in config.compile_depths]
    return xr.Dataset(
        {
            "seconds": (("contestant", "round"), seconds, {"units": "s"}),
            "first_call": ("contestant", first_call, {"units": "s"}),
            "compile_seconds": ("depth", [found[0] for found in compiled], {"units": "s"}),
            "scratch_memory": ("depth", [found[1] for found in compiled], {"units": "byte"}),
            "flops": flops(weights, batch),
        },
        coords={"contestant": names, "depth": list(config.compile_depths)},
    )


def _seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _compilation(network: PlainNetwork, depth: int, config: Config) -> tuple[float, float]:
    """Better of two times to trace and compile, and the program's scratch memory."""
    struct: Any = functools.partial(jax.ShapeDtypeStruct, dtype=np.float32)
    labels: Any = jax.ShapeDtypeStruct((config.batch,), np.int32)
    seeds, width = config.seeds, config.width
    weights = Weights(
        struct((seeds, PIXELS, width)),
        struct((depth - 1, seeds, width, width)),
        struct((seeds, width, CLASSES)),
    )
    batch = Batch(struct((config.batch, PIXELS)), labels)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        reading = jax.vmap(functools.partial(layer_gradients, network), (SEED_AXES, None))
        program: Any = jax.jit(reading).lower(weights, batch).compile()
        times.append(time.perf_counter() - start)
    return min(times), float(program.memory_analysis().temp_size_in_bytes)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Ratios of median times: aims, since they are the machine's as well."""
    median = dataset["seconds"].median("round")
    ratios = [
        reported(
            f"time of {name} over sigjax's",
            "aim of this project",
            float(median.sel(contestant=name) / median.sel(contestant=OURS)),
            aim=BARS[name],
        )
        for name in dataset["contestant"].values
        if name != OURS
    ]
    compiling = dataset["compile_seconds"]
    shallow, deep = int(dataset["depth"].min()), int(dataset["depth"].max())
    memory = float(dataset["scratch_memory"].sel(depth=deep)) / 2**20
    return [
        *ratios,
        reported(
            f"compile time, depth {deep} over depth {shallow}",
            "aim of this project",
            float(compiling.isel(depth=-1) / compiling.isel(depth=0)),
            aim=1.5,
            relation="<=",
        ),
        reported(
            f"scratch memory at depth {deep}, MiB",
            "compiled.memory_analysis(): signals and slopes, no weight gradients",
            memory,
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Rate of every contestant, and compile time against depth."""
    figure, (rate, compiling) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    rates = float(dataset["flops"]) / dataset["seconds"] / 1e9
    middle = rates.median("round")
    spread = abs(rates.quantile([0.1, 0.9], "round") - middle)
    names = dataset["contestant"].values
    colours = [MEANING["sigjax" if name == "sigjax" else "peer"] for name in names]
    rate.barh(dataset["contestant"], middle, xerr=spread, color=colours, ecolor="grey")
    rate.invert_yaxis()
    rate.set(xlabel="GFLOP/s of three products per layer (median, 10-90 %)", title="Rate")
    compiling.plot(
        dataset["depth"], dataset["compile_seconds"], marker="o", color=MEANING["sigjax"]
    )
    compiling.set(
        xscale="log",
        xlabel="depth",
        ylabel="trace and compile [s]",
        ylim=(0, 1.15 * float(dataset["compile_seconds"].max())),
        title="Compilation of the scan",
    )
    return figure
