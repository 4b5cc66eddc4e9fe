"""Time of gated recurrences over Flax's and torch's: GRU and LSTM, forward and backward.

Figure: Flax's time over the others', for each cell, direction and dtype.

    python -m experiments run speed_gates

Time on 2 CPU cores: quick 15 s, paper 6 min. 128 steps (quick: 64), batch 64, 128 inputs, 256
units. sigjax should take no longer than flax.nnx.RNN, and bfloat16 cost it no more than it costs
Flax. A shared machine's clock passes no verdict: the ratios are reported. torch is timed where it
is installed; its products are as fast as the processor allows, so it cannot be beaten by much.
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
from matplotlib.figure import Figure

import sigjax.nn as snn
from experiments.harness import Claim, gather, sweep
from experiments.harness.stopwatch import Call, Contestant, contestants, median_seconds

TIMED = True
CELLS = ("GRU", "LSTM")
DIRECTIONS = ("forward", "forward and backward")
DTYPES = ("float32", "bfloat16")
CONTESTANTS = ("flax", "flax optimized", "sigjax", "torch")
_JAX: dict[tuple[str, str], tuple[Any, Any]] = {
    ("GRU", "flax"): (nnx.RNN, nnx.GRUCell),
    ("GRU", "sigjax"): (snn.RNN, snn.GRUCell),
    ("LSTM", "flax"): (nnx.RNN, nnx.LSTMCell),
    ("LSTM", "flax optimized"): (nnx.RNN, nnx.OptimizedLSTMCell),
    ("LSTM", "sigjax"): (snn.RNN, snn.LSTMCell),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the sequences, and how often each contestant runs."""

    length: int = 64
    """Steps of a sequence."""
    batch: int = 64
    """Sequences."""
    inputs: int = 128
    """Features of the inputs."""
    hidden: int = 256
    """Units of the cell."""
    rounds: int = 3
    """Timed rounds."""

    @classmethod
    def quick(cls) -> "Config":
        """Medians of 3 rounds, short sequences."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Medians of 25 rounds."""
        return cls(length=128, rounds=25)


def _of_jax(
    kind: tuple[Any, Any], direction: str, dtype: str, config: Config, inputs: Array
) -> Call:
    runner, cell = kind
    rnn = runner(cell(config.inputs, config.hidden, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0)))
    graph, parameters, *rest = nnx.split(rnn, nnx.Param, ...)

    def run(parameters, inputs: Array) -> Array:
        module: Any = nnx.merge(graph, parameters, *rest, copy=True)
        return module(inputs)

    def total(parameters, inputs: Array) -> Array:
        return jnp.sum(jnp.square(run(parameters, inputs).astype(jnp.float32)))

    program = run if direction == "forward" else jax.grad(total, (0, 1))
    return Call.of(program, parameters, inputs)


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
        label: _of_jax(kind, direction, dtype, config, inputs)
        for (cell, label), kind in _JAX.items()
        if cell == name
    }
    running = contestants(calls)
    if dtype == "float32" and importlib.util.find_spec("torch"):
        running["torch"] = _of_torch(name, direction, config, inputs)
    seconds = median_seconds(running, config.rounds)
    return xr.Dataset(
        {"seconds": ("contestant", list(seconds.values()))},
        coords={"contestant": list(seconds)},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Races the cells."""
    points = [
        {"cell": cell, "direction": direction, "dtype": dtype}
        for cell in CELLS
        for direction in DIRECTIONS
        for dtype in DTYPES
    ]
    dataset = gather(points, sweep(points, functools.partial(_time, config=config, key=key)))
    dataset["seconds"].attrs = {"long_name": "median time of a call", "units": "s"}
    return dataset


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Ratios of times; the clock passes no verdict."""
    found = []
    ratio = dataset["seconds"] / dataset["seconds"].sel(contestant="sigjax")
    for cell in CELLS:
        for direction in DIRECTIONS:
            part = ratio.sel(cell=cell, direction=direction)
            rivals = [("flax", dtype, 1.0) for dtype in DTYPES]
            if "torch" in dataset["contestant"]:
                rivals.append(("torch", "float32", 1.5))
            for rival, dtype, bar in rivals:
                found.append(
                    Claim(
                        name=f"{cell}, {direction}, {dtype}: {rival}'s time over sigjax's",
                        source="speed bars of this project; the clock passes no verdict",
                        expected=bar,
                        measured=float(part.sel(contestant=rival, dtype=dtype)),
                        tolerance=0.0,
                        kind="reported",
                        relation=">=",
                    )
                )
            time = dataset["seconds"].sel(cell=cell, direction=direction)
            price = time.sel(dtype="bfloat16") / time.sel(dtype="float32")
            found.append(
                Claim(
                    name=f"{cell}, {direction}: sigjax's time in bfloat16 over float32",
                    source="no more than Flax's ratio; the clock passes no verdict",
                    expected=float(price.sel(contestant="flax")),
                    measured=float(price.sel(contestant="sigjax")),
                    tolerance=0.0,
                    kind="reported",
                    relation="<=",
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
    return "\n".join(lines)


def plot(dataset: xr.Dataset) -> Figure:
    """A panel a dtype; right of 1 is faster than Flax."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.2), sharey=True)
    ratio = dataset["seconds"].sel(contestant="flax") / dataset["seconds"]
    names = [f"{cell},\n{direction}" for cell in CELLS for direction in DIRECTIONS]
    rows = np.arange(len(names))[::-1]
    shown = [c for c in CONTESTANTS if c in dataset["contestant"].values and c != "flax"]
    for axis, dtype in zip(axes, DTYPES, strict=True):
        for mark, contestant in zip("sox", shown, strict=False):
            values = ratio.sel(contestant=contestant, dtype=dtype)
            flat = values.transpose("cell", "direction").values.ravel()
            axis.plot(flat, rows, mark, label=contestant, markersize=8, fillstyle="none")
        axis.axvline(1, color="0.5", linewidth=1)
        axis.set_yticks(rows, names)
        axis.set_xlabel("flax.nnx.RNN's time over this one's (1)\n(right of 1: faster than Flax)")
        axis.set_title(dtype)
    axes[0].legend()
    return figure
