"""The figure of saturation: layers over training, and layers before it."""

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

from ._saturating import TRAINED
from ._signals_at_start import WEIGHTS


def plot(dataset: xr.Dataset) -> Figure:
    """Figures 2 and 3 over training; 6 and 7 as standard deviations over layers."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8))
    trained = [axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1]]
    for axis, (activation, depth) in zip(trained, TRAINED, strict=True):
        one = dataset.sel(activation=activation, depth=depth, layer=slice(1, depth))
        curves = one["mean"] if activation == "sigmoid" else one["percentile"]
        for index, layer in enumerate(one["layer"].values):
            colour = plt.get_cmap("viridis")(index / depth)
            axis.plot(
                dataset["step"], curves.sel(layer=layer), color=colour, label=f"layer {layer}"
            )
        right = f"right at the end: {100 * float(one['accuracy'].isel(step=-1)):.0f} %"
        axis.set_title(f"{activation}, {depth} hidden layers ({right})")
        name = "mean activation" if activation == "sigmoid" else "98th percentile of |activation|"
        axis.set_ylabel(f"{name} (1)")
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("step of training")
        axis.legend(ncols=2)
    for axis, name, label in (
        (axes[0, 2], "activation_std", "activations"),
        (axes[1, 2], "gradient_std", "back-propagated gradient"),
    ):
        for weights in WEIGHTS:
            values = dataset[name].sel(weights=weights)
            axis.plot(dataset["initial_layer"], values, "o-", label=f"{weights} weights")
        axis.set_yscale("log")
        axis.set_xlabel("layer, from input to output")
        axis.set_ylabel(f"standard deviation of the {label} (1)")
        axis.set_title("tanh before training")
        axis.legend()
    return figure
