"""The figure of mean_field: phases, depth scales and what could be trained."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.harness.style import THEORY


def plot(dataset: xr.Dataset) -> Figure:
    """Phase diagrams and the map of q above; depth scales, accuracies and the map of c below."""
    figure, axes = plt.subplots(2, 3, figsize=(17, 9))
    for axis, name in zip(axes[0], ("tanh", "logistic"), strict=False):
        _phase(figure, axis, dataset, name)
    _scales(axes[1, 0], dataset)
    _trained(figure, axes[1, 1], dataset)
    _map(axes[0, 2], dataset, "q", "mean square of pre-activations")
    _map(axes[1, 2], dataset, "c", "correlation of two inputs' pre-activations")
    return figure


def _phase(figure: Figure, axis: Any, dataset: xr.Dataset, name: str) -> None:
    weights = f"weight_std_{name}"
    chi1 = dataset[f"chi1_{name}"].transpose("bias_std", weights)
    image = axis.pcolormesh(
        chi1[weights], chi1["bias_std"], np.log2(chi1), cmap="RdBu_r", vmin=-1, vmax=1
    )
    axis.contour(chi1[weights], chi1["bias_std"], chi1, [1.0], colors="black")
    axis.set_title(f"{name}: ordered (blue), chaotic (red), critical line")
    axis.set_xlabel("weight std σ_w (1)")
    axis.set_ylabel("bias std σ_b (1)")
    figure.colorbar(image, ax=axis, label="log2 χ₁ (1)", extend="both")


def _scales(axis: Any, dataset: xr.Dataset) -> None:
    """Depth scales of theory, and those of drawn networks with two standard errors."""
    line = dataset["line_weight_variance"]
    shown = dataset.isel(drawn=np.isclose(dataset["drawn_bias_variance"], 0.05))
    for colour, name, label, theory in (
        ("C0", "slope", "ξ_c, of correlations", "line_xi_c"),
        ("C1", "factor", "ξ of the squared gradient", "line_xi_gradient"),
    ):
        value, error = shown[f"drawn_{name}"], shown[f"error_{name}"]
        # A rate whose interval holds 0 belongs to a scale without upper end.
        rate, half = np.abs(np.log(value)), 2 * error / value
        ends = [
            1 / rate - 1 / (rate + half),
            np.where(rate > half, 1 / (rate - half), 1e9) - 1 / rate,
        ]
        axis.errorbar(
            shown["drawn_weight_variance"], 1 / rate, yerr=ends, color=colour, fmt="o",
            capsize=3, label=label,
        )  # fmt: skip
        axis.plot(line, dataset[theory], **THEORY)
    axis.plot([], [], label="theory", **THEORY)
    axis.axvline(dataset.attrs["critical_weight_variance"], color="0.5", linestyle=":")
    axis.set_yscale("log")
    axis.set_ylim(1, 1e3)
    axis.set_xlabel("weight variance σ_w² (1)")
    axis.set_ylabel("depth scale (layers)")
    axis.set_title("drawn tanh networks, σ_b² = 0.05 (bars: 2 standard errors)")
    axis.legend()


def _map(axis: Any, dataset: xr.Dataset, name: str, quantity: str) -> None:
    """A layer's map by theory, and where drawn networks settle, which is on the diagonal."""
    below = dataset[f"{name}_in"]
    axis.plot(below, below, color="0.6", linewidth=1)
    for index in dataset["poole"].values:
        axis.plot(below, dataset[f"{name}_map"].sel(poole=index), **THEORY)
        one = dataset.sel(drawn=index)
        settled, error = float(one[f"drawn_{name}"]), 2 * float(one[f"error_{name}"])
        label = f"drawn, σ_w = {float(one['drawn_weight_variance']) ** 0.5:g}"
        axis.errorbar(settled, settled, yerr=error, xerr=error, fmt="o", label=label)
    axis.plot([], [], label="theory", **THEORY)
    axis.set_xlabel(f"{quantity} below a layer, {name} (1)")
    axis.set_ylabel("above it (1)")
    axis.set_title(f"tanh, σ_b = 0.3: a layer's map of {name}")
    axis.legend()


def _trained(figure: Figure, axis: Any, dataset: xr.Dataset) -> None:
    accuracy = dataset["accuracy"].transpose("depth", "trained_weight_variance")
    columns = np.arange(accuracy.sizes["trained_weight_variance"])
    image = axis.pcolormesh(
        columns, np.arange(accuracy.sizes["depth"]), accuracy, cmap="viridis", vmin=0, vmax=1
    )
    variances = accuracy["trained_weight_variance"].values
    reach = 6 * np.interp(variances, dataset["line_weight_variance"], dataset["line_xi_c"])
    depths = accuracy["depth"].values
    # The rows are depths of unequal steps: the line is drawn between them.
    axis.plot(
        columns,
        np.interp(np.log(reach), np.log(depths), np.arange(len(depths)), right=len(depths) - 0.5),
        color="white",
        linewidth=2,
        label="6 ξ_c",
    )
    axis.set_ylim(-0.5, len(depths) - 0.5)
    axis.set_xticks(columns, [f"{value:g}" for value in variances], rotation=90)
    axis.set_yticks(np.arange(len(depths)), [str(depth) for depth in depths])
    axis.set_xlabel("weight variance σ_w² (1)")
    axis.set_ylabel("depth (layers)")
    axis.set_title("accuracy after training")
    axis.legend(labelcolor="white")
    figure.colorbar(image, ax=axis, label="accuracy on digits not trained on (1)")
