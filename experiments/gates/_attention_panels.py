"""The figure of attention by sigmoids: size, slope, cost; training and sinks of small models."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.harness.bands import mean_and_range
from experiments.harness.style import COLOURS, MEANING

_MARKS = ("o-", "s-", "x--")  # forms and libraries, readable without colour
_COLOURS = {
    "sigjax": MEANING["sigjax"],
    "jax.nn, softmax": MEANING["peer"],
    "all pairs": COLOURS[3],
}


def plot(dataset: xr.Dataset) -> Figure:
    """Size, slope and memory above; time, training and sinks below."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8))
    _size(axes[0, 0], dataset)
    _slope(axes[0, 1], dataset)
    _cost(axes[0, 2], dataset, dataset["temporary"] / 2**20)
    axes[0, 2].set_ylabel("temporary memory of value and gradient (MiB)")
    axes[0, 2].set_title("no array of all pairs")
    _cost(axes[1, 0], dataset, 1e3 * dataset["seconds"])
    axes[1, 0].set_ylabel("time of value and gradient (ms)")
    axes[1, 0].set_title("8 heads of 64, float32")
    _training(axes[1, 1], dataset)
    _sinks(axes[1, 2], dataset)
    return figure


def _size(axis: Any, dataset: xr.Dataset) -> None:
    for form, mark in zip(dataset["form"].values, _MARKS, strict=True):
        axis.plot(dataset["length"], dataset["size"].sel(form=form), mark, label=form)
    axis.set_ylabel("root mean square of the output (1)")
    axis.set_title("b = -log n keeps the size of softmax's")
    _over_length(axis)


def _slope(axis: Any, dataset: xr.Dataset) -> None:
    axis.plot(dataset["logit"], dataset["exact_slope"], color="0.6", linewidth=5, label="sigma'(z)")
    for weight, mark in (("sigmoid", "."), ("softmax", "x")):
        shown = dataset["slope"].sel(weight=weight)
        axis.plot(dataset["logit"], shown.where(shown > 0), mark, label=weight)
    axis.set_yscale("log")
    axis.set_xlabel("logit of one key, the other's is 0 (1)")
    axis.set_ylabel("slope of the output, from bfloat16 (1)")
    axis.set_title("softmax's slope is 0 where 1 - p is")
    axis.legend()


def _cost(axis: Any, dataset: xr.Dataset, cost: xr.DataArray) -> None:
    for library, mark in zip(dataset["library"].values, _MARKS, strict=True):
        values = cost.sel(library=library)
        axis.plot(dataset["length"], values, mark, color=_COLOURS[str(library)], label=library)
    _over_length(axis)


def _over_length(axis: Any) -> None:
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("keys and queries (1)")
    axis.legend()


def _training(axis: Any, dataset: xr.Dataset) -> None:
    for behind, line in zip(dataset["behind"].values, ("-", "--"), strict=True):
        curve = dataset["loss"].sel(behind=behind)
        mean_and_range(axis, dataset["step"] + 1, curve, line, label=behind)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("step of Adam (1)")
    axis.set_ylabel("cross-entropy of what is repeated (nat)")
    axis.set_title("a small transformer; bands: all seeds")
    axis.legend()


def _sinks(axis: Any, dataset: xr.Dataset) -> None:
    names = dataset["behind"].values
    for place, behind in enumerate(names):
        values = dataset["sink"].sel(behind=behind)
        axis.plot(np.full(values.size, place), values, "o", fillstyle="none")
        axis.plot(place, values.mean(), "_", color="black", markersize=30)
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.set_ylim(0, None)
    axis.set_xlabel("behind the attention")
    axis.set_ylabel("attention on the first token (1)")
    axis.set_title("sinks; a circle a seed, bars: means")
