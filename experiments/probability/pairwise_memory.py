"""Memory and time of the pairwise (SigLIP) loss, whole and in chunks.

Figure: memory that the compiled loss and its gradients need, and their time, over the batch.
After Zhai et al. 2023 (arXiv:2303.15343), section 3.3.

    python -m experiments run pairwise_memory

Time on 2 CPU cores: quick 10 s, paper 5 min (and 8 GiB). Must show: for 16,384 pairs the loss in
chunks needs less than 1/8 of the memory of the whole one, by the compiler's own count. Times are
reported.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, gather, reported, sweep
from experiments.harness.settings import wrong_value
from experiments.harness.stopwatch import compiled, median_seconds
from sigjax.losses import sigmoid_pairwise_loss

# The memory bar is for this many pairs: it is counted by the compiler, without being taken.
PAIRS, SHARE = 16_384, 1 / 8
TIMED = True
_WHOLE = 0  # the "chunk" of the whole loss


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Sizes."""

    pairs: tuple[int, ...] = (1024, 2048, 4096, 8192, PAIRS)
    """Batches for which the memory is counted."""
    largest_run: int = 4096
    """The largest batch that is also run and timed."""
    chunks: tuple[int, ...] = (256, 1024)
    """Texts in a chunk of the pairwise loss."""
    features: int = 256
    """Length of an embedding."""
    rounds: int = 3
    """Timed rounds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if PAIRS not in self.pairs:
            raise wrong_value("pairs", f"numbers with {PAIRS} among them", self.pairs)
        if self.largest_run < min(self.pairs):
            raise wrong_value("largest_run", f"at least {min(self.pairs)} pairs", self.largest_run)
        for chunk, pairs in itertools.product(self.chunks, self.pairs):
            if pairs % chunk:
                raise wrong_value("chunks", f"divisors of {pairs} pairs", self.chunks)

    @classmethod
    def quick(cls) -> "Config":
        """Run up to 4,096 pairs."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Run up to 16,384 pairs, which the whole loss needs 7 GiB for."""
        return cls(largest_run=PAIRS, rounds=7)


def _lower(chunk: int, arguments: tuple[Any, ...]) -> jax.stages.Lowered:
    loss = functools.partial(sigmoid_pairwise_loss, chunk_size=chunk or None)
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3))).lower(*arguments)


def _measure(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    pairs = point["pairs"]
    shape = jax.ShapeDtypeStruct((pairs, config.features), jnp.float32)
    labels = (_WHOLE, *config.chunks)
    lowered = {str(chunk): _lower(chunk, (shape, shape, 10.0, -10.0)) for chunk in labels}
    programs: dict[str, Any] = compiled(lowered)
    memory = [float(p.memory_analysis().temp_size_in_bytes) for p in programs.values()]
    seconds = [np.nan] * len(labels)
    if pairs <= config.largest_run:
        image, text = jax.random.normal(key, (2, *shape.shape)) / config.features**0.5
        arguments = image, text, 10.0, -10.0
        contestants = {
            chunk: functools.partial(program, *arguments) for chunk, program in programs.items()
        }
        seconds = list(median_seconds(contestants, config.rounds).values())
    return xr.Dataset(
        {"memory": ("chunk", memory), "seconds": ("chunk", seconds)},
        coords={"chunk": list(labels)},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Compiles, counts, and runs what is small enough."""
    points = [{"pairs": pairs} for pairs in config.pairs]
    dataset = gather(points, sweep(points, functools.partial(_measure, config=config, key=key)))
    dataset["memory"].attrs = {"long_name": "temporary memory", "units": "B"}
    dataset["seconds"].attrs = {"long_name": "median time of a call", "units": "s"}
    return dataset


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Memory held to its bar, time reported."""
    memory = dataset["memory"].sel(pairs=PAIRS)
    found = []
    for chunk in dataset["chunk"].values:
        if chunk == _WHOLE:
            continue
        found.append(
            Claim(
                name=f"{PAIRS} pairs, chunks of {chunk}: memory over the whole loss's",
                source="bar of this project; memory_analysis of the compiled program",
                expected=SHARE,
                measured=float(memory.sel(chunk=chunk) / memory.sel(chunk=_WHOLE)),
                kind="exact",
                relation="<=",
            )
        )
        time = dataset["seconds"].dropna("pairs").isel(pairs=-1)
        found.append(
            reported(
                f"{int(time['pairs'])} pairs, chunks of {chunk}: time over the whole loss's",
                "aim of this project; the clock passes no verdict",
                float(time.sel(chunk=chunk) / time.sel(chunk=_WHOLE)),
                aim=1.1,
                relation="<=",
            )
        )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Memory and time over the batch."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    panels = (("memory", 2**20, "temporary memory (MiB)"), ("seconds", 1e-3, "time of a call (ms)"))
    for axis, (variable, unit, label) in zip(axes, panels, strict=True):
        for chunk in dataset["chunk"].values:
            name = "all pairs at once" if chunk == _WHOLE else f"chunks of {chunk} texts"
            values = (dataset[variable].sel(chunk=chunk) / unit).dropna("pairs")
            axis.plot(values["pairs"], values, "o-", label=name)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        seen = dataset[variable].dropna("pairs", how="all")["pairs"].values
        axis.set_xticks(seen, [f"{pairs:,}" for pairs in seen])
        axis.set_xlabel("pairs in the batch")
        axis.set_ylabel(label)
        axis.set_title("loss and all four gradients")
    axes[0].legend()
    return figure
