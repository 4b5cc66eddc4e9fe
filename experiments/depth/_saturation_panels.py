"""The figure of saturation: layers over training, and layers before it."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.style import COLOURS, THEORY

from ._saturating import TRAINED
from ._signals_at_start import ACTIVATION_STD, GRADIENT_RATIO, WEIGHTS


def plot(dataset: xr.Dataset) -> Figure:
    """Figures 2 and 3 over training, and how far weights move; 6 and 7 over layers."""
    figure, axes = plt.subplots(2, 4, figsize=(19, 8))
    trained = [axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1]]
    for axis, (activation, depth) in zip(trained, TRAINED, strict=True):
        one = dataset.sel(activation=activation, depth=depth, layer=slice(1, depth))
        _layers(axis, one["mean"] if activation == "sigmoid" else one["percentile"])
        right = f"{100 * float(one['accuracy'].isel(step=-1)):.0f} %"
        chance = f"{100 * float(dataset['chance']):.0f} %"
        axis.set_title(f"{activation}, {depth} hidden layers: {right} right (chance {chance})")
        what = "mean activation" if activation == "sigmoid" else "98th percentile of |activation|"
        axis.set_ylabel(f"{what} (1)")
        axis.set_ylim(-0.03, 1.03)
        axis.legend(ncols=2)
    for axis, activation in zip(axes[:, 2], ("sigmoid", "tanh"), strict=True):
        moved = dataset["moved"].sel(activation=activation, depth=5)
        _layers(axis, moved.where(moved["step"] > 0, drop=True))
        axis.set_title(f"{activation}, 5 hidden layers")
        axis.set_ylabel("distance of the weights from their start\nover their norm there (1)")
        axis.set_yscale("log")
        axis.set_ylim(top=20)  # room for the legend
        axis.legend(ncols=2, loc="upper left")
    layers = dataset["initial_layer"].values
    for axis, name, label in (
        (axes[0, 3], "activation_std", "activations"),
        (axes[1, 3], "gradient_std", "back-propagated gradient"),
    ):
        for weights, colour in zip(WEIGHTS, COLOURS, strict=False):
            values = dataset[name].sel(weights=weights)
            axis.plot(layers, values, "o", color=colour, label=f"{weights} weights")
            axis.plot(layers, _expected(weights, name, float(values[-1])), **THEORY)
        axis.plot([], [], **THEORY, label="in float64, of N(0, 1) inputs")
        axis.set_yscale("log")
        axis.set_xticks(layers)
        axis.set_xlabel("layer, from input to output")
        axis.set_ylabel(f"standard deviation of the {label} (1)")
        axis.set_title("tanh before training")
        axis.legend()
    return figure


def _layers(axis: Axes, curves: xr.DataArray) -> None:
    """A curve for each layer, from dark to light."""
    layers = curves["layer"].values
    for index, layer in enumerate(layers):
        shade = plt.get_cmap("viridis")(index / len(layers))
        axis.plot(curves["step"], curves.sel(layer=layer), color=shade, label=f"layer {layer}")
    axis.set_xlabel("step of training")


def _expected(weights: str, name: str, last: float) -> np.ndarray:
    """What theory has of each layer; of gradients it has ratios, so they start from the last."""
    if name == "activation_std":
        return np.array(ACTIVATION_STD[weights])
    return last * np.cumprod((1, *reversed(GRADIENT_RATIO[weights])))[::-1]
