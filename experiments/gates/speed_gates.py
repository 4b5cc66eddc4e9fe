"""Time of gated recurrences over Flax's and torch's: GRU and LSTM, forward and backward.

Figure: Flax's time over the others', for each cell, direction and dtype; and of a step outside
`jit`, of tracing and of compiling.

    python -m experiments run speed_gates

Time on 2 CPU cores: quick 20 s, paper 95 s. 100 steps, batch 32, 128 inputs and units. Forward and
backward, sigjax should take 1.1 times less than flax.nnx.RNN in float32 and 2 times less in
bfloat16, and what else sigjax's cells can do should cost nothing where it is not used. A shared
machine's clock passes no verdict: the ratios are reported. torch is timed where it is installed;
its products are as fast as the processor allows, so it cannot be beaten by much.
"""

import dataclasses
import functools
import importlib.util
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from flax import nnx
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sigjax.nn as snn
from experiments.harness import Claim, Settings, gather, reported, sweep
from experiments.harness.stopwatch import (
    Call,
    Contestant,
    contestants,
    median_seconds,
    preparation,
)
from experiments.harness.style import MEANING

TIMED = True
CELLS = ("GRU", "LSTM")
DIRECTIONS = ("forward", "forward and backward")
DTYPES = ("float32", "bfloat16")
BESIDES = ("step outside jit", "trace and lower", "compile")
# Flax's time over sigjax's that this project aims at, forward and in both directions, and besides.
BARS = {
    ("forward", "float32"): 1.0,
    ("forward", "bfloat16"): 1.0,
    ("forward and backward", "float32"): 1.1,
    ("forward and backward", "bfloat16"): 2.0,
}
LIGHT = 0.9
_SOURCE = "speed aims of this project; the clock passes no verdict"
CONTESTANTS = ("flax", "flax optimized", "sigjax", "torch")
_JAX: dict[tuple[str, str], tuple[Any, Any]] = {
    ("GRU", "flax"): (nnx.RNN, nnx.GRUCell),
    ("GRU", "sigjax"): (snn.RNN, snn.GRUCell),
    ("LSTM", "flax"): (nnx.RNN, nnx.LSTMCell),
    ("LSTM", "flax optimized"): (nnx.RNN, nnx.OptimizedLSTMCell),
    ("LSTM", "sigjax"): (snn.RNN, snn.LSTMCell),
}


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Sizes of the sequences, and how often each contestant runs."""

    length: int = 100
    """Steps of a timed sequence."""
    batch: int = 32
    """Sequences that are run side by side."""
    inputs: int = 128
    """Features of the inputs."""
    hidden: int = 128
    """Units of the cell."""
    rounds: int = 7
    """Timed rounds of each cell."""
    rounds_of_preparation: int = 1
    """How often each cell is traced and compiled."""

    @classmethod
    def quick(cls) -> "Config":
        """Medians of 7 rounds; traced and compiled once."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Medians of 41 and of 11 rounds."""
        return cls(rounds=41, rounds_of_preparation=11)


def _program(
    kind: tuple[Any, Any], direction: str, dtype: str, config: Config, inputs: Array
) -> tuple[Any, ...]:
    """A function and its arguments."""
    runner, cell = kind
    rnn = runner(cell(config.inputs, config.hidden, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    graph, parameters, *rest = nnx.split(rnn, nnx.Param, ...)

    def run(parameters, inputs: Array) -> Array:
        module: Any = nnx.merge(graph, parameters, *rest, copy=True)
        return module(inputs)

    def total(parameters, inputs: Array) -> Array:
        return jnp.sum(jnp.square(run(parameters, inputs).astype(jnp.float32)))

    return run if direction == "forward" else jax.grad(total, (0, 1)), parameters, inputs


def _of_torch(name: str, direction: str, config: Config, inputs: Array) -> Contestant:
    import torch

    rnn = getattr(torch.nn, name)(config.inputs, config.hidden, batch_first=True)
    x = torch.tensor(np.asarray(inputs), requires_grad=direction != "forward")

    def run() -> None:
        if direction == "forward":
            with torch.no_grad():
                rnn(x)
        else:
            rnn(x)[0].square().sum().backward()

    return run


def _time(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    name, direction, dtype = point["cell"], point["direction"], point["dtype"]
    inputs = jax.random.normal(key, (config.batch, config.length, config.inputs))
    calls = {
        label: Call.of(*_program(kind, direction, dtype, config, inputs))
        for (cell, label), kind in _JAX.items()
        if cell == name
    }
    running = contestants(calls)
    on_cpu = jax.default_backend() == "cpu"  # where torch computes
    if dtype == "float32" and on_cpu and importlib.util.find_spec("torch"):
        running["torch"] = _of_torch(name, direction, config, inputs)
    seconds = median_seconds(running, config.rounds)
    return xr.Dataset(
        {"seconds": ("contestant", list(seconds.values()))},
        coords={"contestant": list(seconds)},
    )


def _time_besides(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    """A step outside `jit`, and what a program of both directions takes before it runs."""
    name = point["cell"]
    kinds = {label: kind for (cell, label), kind in _JAX.items() if cell == name}
    x = jax.random.normal(key, (config.batch, config.inputs))
    steps: dict[str, Contestant] = {}
    for label, (_, kind) in kinds.items():
        cell = kind(config.inputs, config.hidden, rngs=nnx.Rngs(0))
        steps[label] = functools.partial(cell, cell.initialize_carry(x.shape, nnx.Rngs(0)), x)
    inputs = jax.random.normal(key, (config.batch, config.length, config.inputs))
    programs = {
        label: functools.partial(Call.of, *_program(kind, DIRECTIONS[1], "float32", config, inputs))
        for label, kind in kinds.items()
    }
    step = median_seconds(steps, 5 * config.rounds)
    taken = preparation(programs, config.rounds_of_preparation, seed=0)
    rows = [[row[label] for label in kinds] for row in (step, taken.trace, taken.compile)]
    return xr.Dataset(
        {"besides_seconds": (("besides", "contestant"), rows)},
        coords={"besides": list(BESIDES), "contestant": list(kinds)},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Races the cells; what clears JAX's caches comes last."""
    points = [
        {"cell": cell, "direction": direction, "dtype": dtype}
        for cell in CELLS
        for direction in DIRECTIONS
        for dtype in DTYPES
    ]
    dataset = gather(points, sweep(points, functools.partial(_time, config=config, key=key)))
    cells = [{"cell": cell} for cell in CELLS]
    besides = sweep(cells, functools.partial(_time_besides, config=config, key=key))
    dataset = dataset.merge(gather(cells, besides))
    dataset["besides_seconds"].attrs = {"long_name": "median time besides running", "units": "s"}
    dataset["seconds"].attrs = {"long_name": "median time of a call", "units": "s"}
    return dataset


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Ratios of times; the clock passes no verdict."""
    found = []
    ratio = dataset["seconds"] / dataset["seconds"].sel(contestant="sigjax")
    for cell in CELLS:
        for direction in DIRECTIONS:
            part = ratio.sel(cell=cell, direction=direction)
            rivals = [("flax", dtype, BARS[direction, dtype]) for dtype in DTYPES]
            if "torch" in dataset["contestant"]:
                rivals.append(("torch", "float32", 1.5))
            for rival, dtype, bar in rivals:
                found.append(
                    reported(
                        f"{cell}, {direction}, {dtype}: {rival}'s time over sigjax's",
                        _SOURCE,
                        float(part.sel(contestant=rival, dtype=dtype)),
                        aim=bar,
                    )
                )
            time = dataset["seconds"].sel(cell=cell, direction=direction)
            price = time.sel(dtype="bfloat16") / time.sel(dtype="float32")
            found.append(
                reported(
                    f"{cell}, {direction}: sigjax's time in bfloat16 over float32",
                    "no more than Flax's ratio; the clock passes no verdict",
                    float(price.sel(contestant="sigjax")),
                    aim=float(price.sel(contestant="flax")),
                    relation="<=",
                )
            )
    for cell in CELLS:
        taken = dataset["besides_seconds"].sel(cell=cell)
        for what in BESIDES:
            part = taken.sel(besides=what)
            found.append(
                reported(
                    f"{cell}, {what}: flax's time over sigjax's",
                    _SOURCE,
                    float(part.sel(contestant="flax") / part.sel(contestant="sigjax")),
                    aim=LIGHT,
                )
            )
    return found


def table(dataset: xr.Dataset) -> str:
    """Flax's time over the contestant's: float32 / bfloat16."""
    columns = [(cell, direction) for cell in CELLS for direction in DIRECTIONS]
    head = " | ".join(f"{cell}, {direction}" for cell, direction in columns)
    lines = [f"| contestant | {head} |", "|---" * (1 + len(columns)) + "|"]
    ratio = dataset["seconds"].sel(contestant="flax") / dataset["seconds"]
    for contestant in dataset["contestant"].values:
        cells = []
        for cell, direction in columns:
            part = ratio.sel(contestant=contestant, cell=cell, direction=direction)
            values = (float(part.sel(dtype=dtype)) for dtype in DTYPES)
            cells.append(" / ".join("-" if np.isnan(v) else f"{v:.2f}" for v in values))
        lines.append(f"| {contestant} | " + " | ".join(cells) + " |")
    whats = [f"{cell}, {what}" for cell in CELLS for what in BESIDES]
    lines += ["", f"| contestant | {' | '.join(whats)} |", "|---" * (1 + len(whats)) + "|"]
    besides = _besides_ratio(dataset).transpose("contestant", "cell", "besides")
    for contestant in _shown(dataset, besides):
        ratios = besides.sel(contestant=contestant).values.ravel()
        cells = ["-" if np.isnan(value) else f"{value:.2f}" for value in ratios]
        lines.append(f"| {contestant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _besides_ratio(dataset: xr.Dataset) -> xr.DataArray:
    return dataset["besides_seconds"].sel(contestant="flax") / dataset["besides_seconds"]


def _shown(dataset: xr.Dataset, ratio: xr.DataArray) -> list[str]:
    """The contestants that have a ratio, in one order everywhere, without Flax itself."""
    there = [c for c in CONTESTANTS if c in dataset["contestant"].values and c != "flax"]
    return [c for c in there if bool(ratio.sel(contestant=c).notnull().any())]


_LOOKS = {
    "flax optimized": ("s", MEANING["peer"]),
    "sigjax": ("o", MEANING["sigjax"]),
    "torch": ("x", "0.4"),
}


def plot(dataset: xr.Dataset) -> Figure:
    """A panel a dtype, and one for what is besides; right of 1 is faster than Flax."""
    figure, (*axes, besides) = plt.subplots(1, 3, figsize=(18, 4.2))
    ratio = dataset["seconds"].sel(contestant="flax") / dataset["seconds"]
    directions = [f"{cell},\n{direction}" for cell in CELLS for direction in DIRECTIONS]
    for axis, dtype in zip(axes, DTYPES, strict=True):
        part = ratio.sel(dtype=dtype).transpose("contestant", "cell", "direction")
        _draw(axis, dataset, part, directions)
        axis.set_title(dtype)
    whats = [f"{cell}, {what}" for cell in CELLS for what in BESIDES]
    _draw(besides, dataset, _besides_ratio(dataset).transpose("contestant", "cell", ...), whats)
    besides.set_title("float32, besides running")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _draw(axis: Axes, dataset: xr.Dataset, ratio: xr.DataArray, names: list[str]) -> None:
    rows = np.arange(len(names))[::-1]
    for contestant in _shown(dataset, ratio):
        values = ratio.sel(contestant=contestant).values.ravel()
        mark, colour = _LOOKS[contestant]
        axis.plot(
            values, rows, mark, color=colour, label=contestant, markersize=8, fillstyle="none"
        )
    axis.axvline(1, color="0.5", linewidth=1)
    axis.set_yticks(rows, names)
    axis.set_xlabel("flax.nnx.RNN's time over this one's (1)\n(right of 1: faster than Flax)")
