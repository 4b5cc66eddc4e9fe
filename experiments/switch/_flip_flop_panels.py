"""The figure of flip_flop: portraits, the window, the pitchfork and hysteresis."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.style import COLOURS


def plot(dataset: xr.Dataset) -> Figure:
    """Nullclines, bifurcations and hysteresis."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 8))
    for axis, weight in zip(axes[0, :2], dataset["portrait"].values, strict=True):
        _portrait(axis, dataset, float(weight))
    _window(axes[0, 2], dataset)
    _pitchfork(axes[1, 0], dataset)
    _exponent(axes[1, 1], dataset)
    _hysteresis(axes[1, 2], dataset)
    return figure


def _portrait(axis: Axes, dataset: xr.Dataset, weight: float) -> None:
    part = dataset.sel(portrait=weight)
    for flow in part["flow"].values:
        axis.plot(*flow.T, color="0.75", linewidth=0.8, zorder=1)
    x_stands, y_stands = part["nullcline"].values
    inside = (x_stands > -0.05) & (x_stands < 1.05)
    axis.plot(part["activity"][inside], x_stands[inside], label="x stands still")
    axis.plot(part["activity"], y_stands, label="y stands still")
    near = dataset.sel(weight=weight, method="nearest")
    for state, stable in zip(near["state"].values, near["stable"].values, strict=True):
        if np.isfinite(state):
            axis.plot(state, 1 - state, "o", mec="black", mfc="black" if stable else "white")
    axis.set_xlabel("activity x (1)")
    axis.set_ylabel("activity y (1)")
    count = int(np.isfinite(near["state"]).sum())
    axis.set_title(f"w = {weight:g}: {'one state' if count == 1 else 'two states and a saddle'}")
    axis.legend(loc="upper right")


def _window(axis: Axes, dataset: xr.Dataset) -> None:
    wide = dataset.where(np.isfinite(dataset["window"].isel(end=0)), drop=True)
    axis.fill_between(wide["weight"], *wide["window"].values.T, alpha=0.3, label="two states")
    axis.plot(dataset["weight"], dataset["weight"] / 2, ":", color="0.3", label="I = w/2")
    axis.axvline(4, color="0.3", linewidth=1)
    axis.text(4.05, -1, "w g = 4", fontsize=8)
    axis.set_xlabel("weight of the inhibition w (1)")
    axis.set_ylabel("common drive I (1)")
    axis.set_title("where there is a choice")
    axis.legend(loc="upper left")


def _pitchfork(axis: Axes, dataset: xr.Dataset) -> None:
    for stable, style, label in ((True, "-", "stable"), (False, "--", "unstable")):
        kept = dataset["state"].where(dataset["stable"] == stable)
        kept = kept.where(np.isfinite(dataset["state"]))
        for index in range(3):
            axis.plot(
                dataset["weight"],
                kept.isel(equilibrium=index),
                style,
                color=COLOURS[0] if stable else COLOURS[1],
                label=label if index == 1 else None,
            )
    axis.set_xlabel("weight of the inhibition w (1)")
    axis.set_ylabel("activity x (1)")
    axis.set_title("pitchfork at w g = 4")
    axis.legend(loc="upper left")


def _exponent(axis: Axes, dataset: xr.Dataset) -> None:
    axis.loglog(dataset["excess"], dataset["onset"], "o", markersize=3, label="|2x − 1|")
    # tanh's next term: m^2 = 3 (w/4 - 1) / (w/4)^3, so m = sqrt(3/4) sqrt(w - 4)
    axis.loglog(
        dataset["excess"],
        np.sqrt(0.75 * dataset["excess"]),
        color="0.3",
        linewidth=1,
        label="√(3(w − 4)/4)",
    )
    axis.set_xlabel("w − 4 (1)")
    axis.set_ylabel("|2x − 1| (1)")
    axis.set_title("exponent ½")
    axis.legend()


def _hysteresis(axis: Axes, dataset: xr.Dataset) -> None:
    strong, fold = float(dataset["portrait"].max()), float(dataset["branch_fold"].max())
    drive, state = dataset["branch_drive"], dataset["branch_state"]
    back = dataset["branch_back"] != 0
    axis.plot(drive, state.where(~back), color="0.6", linewidth=4, label="stable")
    axis.plot(drive, state.where(back), "--", color="0.6", label="unstable")
    for direction, colour in (("up", COLOURS[0]), ("down", COLOURS[1])):
        part = dataset.sel(direction=direction)
        axis.plot(
            part["ramp_drive"], part["ramp_state"], color=colour, label=f"drive goes {direction}"
        )
    for fold in dataset["branch_fold"].values:
        axis.axvline(fold, color="0.3", linewidth=1, linestyle=":")
    axis.set_xlabel("opposed drive d (1)")
    axis.set_ylabel("activity x (1)")
    axis.set_title(f"w = {strong:g}: it jumps at the folds ±{fold:.3f}")
    axis.set_ylim(top=1.3)  # room for the legend
    axis.legend(ncols=2, loc="upper center")
