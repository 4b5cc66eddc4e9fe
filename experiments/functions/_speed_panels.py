"""What the experiment `speed` draws, and the ratios that it draws them from."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from experiments.harness.style import COLOURS, MEANING

_MARKS = ("o", "s", "x")
_PACES = {"processor": "-", "pipelined": "--"}
# For each variable `NAME_seconds`: its dimension beside the library, and what the seconds are of.
_LIGHT = {
    "call": ("called", "{}: call outside jit"),
    "grad": ("called", "{}: jax.grad outside jit"),
    "trace": ("program", "{}: trace and lower"),
    "compile": ("program", "{}: compile"),
    "step": ("program", "{}: step"),
}


def ratio(dataset: xr.Dataset, contestant: str = "sigjax") -> xr.DataArray:
    """jax's median time over a contestant's."""
    seconds = dataset["seconds"]
    return seconds.sel(contestant="jax") / seconds.sel(contestant=contestant)


def light_ratio(dataset: xr.Dataset, what: str) -> xr.DataArray:
    """jax's median time over sigjax's, of a call, a gradient, a trace, a compilation or a step."""
    seconds = dataset[f"{what}_seconds"]
    return seconds.sel(library="jax") / seconds.sel(library="sigjax")


def light_ratios(dataset: xr.Dataset) -> Iterator[tuple[str, float]]:
    """What was prepared or called, with jax's time over sigjax's."""
    for what, (dimension, words) in _LIGHT.items():
        for value in light_ratio(dataset, what).dropna(dimension):
            yield words.format(value[dimension].item()), float(value)


def draw_ratios(axis: Axes, dataset: xr.Dataset, aims: Sequence[float]) -> None:
    """A line for each mode and pace of a function over the size, with the quartiles of rounds."""
    sizes = dataset["size"].values
    for index, (mode, aim) in enumerate(zip(dataset["mode"].values, aims, strict=True)):
        for pace, line in _PACES.items():
            part = dataset.sel(mode=mode, pace=pace)
            middle = ratio(part).values
            low, high = part["ratio_quartile"].sel(contestant="sigjax").transpose("quartile", ...)
            axis.errorbar(
                sizes * 1.08 ** (index - 1),  # beside each other, so that no bar hides another
                middle,
                # The ratio of the medians is not always within the quartiles of the ratios.
                [np.maximum(middle - low.values, 0), np.maximum(high.values - middle, 0)],
                color=COLOURS[index],
                marker=_MARKS[index],
                linestyle=line,
                fillstyle="none",
                linewidth=1,
                capsize=2,
                label=f"{mode}, {pace}",
            )
        axis.axhline(aim, color=COLOURS[index], linewidth=1, linestyle=":")
    axis.axhline(1, color="0.5", linewidth=1)
    axis.plot([], [], ":", color="0.3", linewidth=1, label="aim")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xlabel("elements (1)")


def draw_light(
    axis: Axes, dataset: xr.Dataset, dimension: str, stages: Mapping[str, str], aim: float
) -> None:
    """A row for each function or program, a mark for each stage of its life."""
    names = dataset[dimension].values
    rows = np.arange(len(names))[::-1]
    for (what, label), mark in zip(stages.items(), _MARKS, strict=False):
        axis.plot(light_ratio(dataset, what), rows, mark, label=label, fillstyle="none")
    axis.axvline(1, color="0.5", linewidth=1)
    axis.axvline(aim, color="black", linewidth=1, linestyle=":", label="aim")
    axis.set_xscale("log", base=2)
    low, high = axis.get_xlim()
    between = (1.0, 1.5) if high / low < 8 else (1.0,)  # two ticks at least
    axis.xaxis.set_major_locator(LogLocator(2, between))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(rows, names)
    axis.set_xlabel("jax's or optax's time over sigjax's (right of 1: sigjax is faster)")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def draw_bandwidth(axis: Axes, dataset: xr.Dataset) -> None:
    """How much of a copy's bandwidth a forward pass takes."""
    rows = np.arange(dataset.sizes["function"])
    # It ran beside every function: one unlucky race must not stand for the memory's speed.
    copy = dataset["seconds"].sel(contestant="copy").median(("function", "mode"))
    highest = 1.0
    for shift, library in zip((-0.2, 0.2), ("sigjax", "jax"), strict=True):
        share = copy / dataset["seconds"].sel(contestant=library, mode="forward")
        colour = MEANING["sigjax" if library == "sigjax" else "peer"]
        axis.bar(rows + shift, share, width=0.38, color=colour, label=library)
        highest = max(highest, float(share.max()))
    axis.set_xticks(rows, dataset["function"].values, rotation=30)
    axis.set_ylabel("share of a copy's bandwidth (1)")
    axis.set_ylim(0, 1.3 * highest)  # room for the legend
    axis.set_title(f"forward, float32,\n{int(dataset['size']):,} elements")
    axis.legend(loc="upper right", ncols=2)


def draw_curve(axis: Axes, dataset: xr.Dataset) -> None:
    """Error over time, a mark for each way to write the sigmoid."""
    relative = dataset["form_seconds"] / dataset["form_seconds"].sel(form="jax.nn.sigmoid")
    marks = ("o", "s", "^", "v", "D", "P", "X")
    own = {"jax.nn.sigmoid": MEANING["peer"], "sigjax": MEANING["sigjax"]}
    others = iter((*COLOURS[:2], COLOURS[3], *COLOURS[5:]))
    for label, mark in zip(dataset["form"].values, marks, strict=True):
        colour = own.get(str(label)) or next(others)
        time, ulp = relative.sel(form=label), dataset["form_ulp"].sel(form=label)
        axis.plot(time, ulp, mark, color=colour, label=label, fillstyle="none", markersize=8)
    axis.axhline(1, color="0.5", linewidth=1, linestyle="--")
    axis.set_yscale("log")
    axis.set_xlabel("processor time over jax.nn's (1)")
    axis.set_ylabel("largest error (ulp; dashed: faithful)")
