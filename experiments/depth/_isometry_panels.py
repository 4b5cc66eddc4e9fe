"""The figure of isometry: spectra, their variance, and learning."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.harness.style import THEORY

from ._spectra import ENSEMBLES


def plot(dataset: xr.Dataset) -> Figure:
    """Spectra of both ensembles above; their variance over q*, and learning curves, below."""
    figure, axes = plt.subplots(2, 2, figsize=(12, 9))
    for axis, ensemble in zip(axes[0], ENSEMBLES, strict=True):
        _spectra(axis, dataset.sel(ensemble=ensemble))
        axis.set_title(f"{ensemble} weights (lines: drawn, dashes: theory)")
    axes[0, 0].legend(loc="lower left")
    _variances(axes[1, 0], dataset)
    _training(axes[1, 1], dataset)
    return figure


def _spectra(axis: Any, dataset: xr.Dataset) -> None:
    """The share of singular values above s, which shows all of them however they are spread."""
    for index, name in enumerate(dataset["spectrum"].values):
        one = dataset.sel(spectrum=name)
        values = np.sort(one["singular_values"].values.ravel())
        share = 1 - np.arange(len(values)) / len(values)
        axis.step(values, share, where="pre", color=f"C{index}", linewidth=3, alpha=0.5, label=name)
        axis.plot(one["s"], one["share_above"], **THEORY)
    axis.set_xscale("log")
    axis.set_xlim(float(dataset["s"].min()), 1.3 * float(dataset["s"].max()))
    axis.set_ylim(0, 1.03)
    axis.set_xlabel("singular value s of the Jacobian (1)")
    axis.set_ylabel("share of singular values above s (1)")


def _variances(axis: Any, dataset: xr.Dataset) -> None:
    tanh = [name for name in dataset["spectrum"].values if "tanh" in name]
    for index, ensemble in enumerate(ENSEMBLES):
        axis.plot(dataset["q_scan"], dataset[f"variance_{ensemble}"], **THEORY)
        drawn = dataset.sel(ensemble=ensemble, spectrum=tanh)
        axis.errorbar(
            drawn["q"], drawn["drawn_variance"], yerr=2 * drawn["error"], fmt="o", capsize=3,
            color=f"C{index}", label=f"{ensemble} weights, drawn",
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("variance of the pre-activations q* (1)")
    axis.set_ylabel("relative variance of squared singular values (1)")
    axis.plot([], [], label="theory", **THEORY)
    axis.set_title("tanh: only orthogonal weights become isometric (bars: 2 standard errors)")
    axis.legend()


def _training(axis: Any, dataset: xr.Dataset) -> None:
    curves = best_curves(dataset)
    for name in dataset["network"].values:
        curve = curves.sel(network=name)
        axis.plot(dataset["step"], curve, label=f"{name}, rate {float(curve['rate']):g}")
    axis.set_xlabel("step of training")
    axis.set_ylabel("cross-entropy (nats)")
    axis.set_title("deep networks on digits, each at its best rate")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


def best_curves(dataset: xr.Dataset) -> xr.DataArray:
    """Each network's loss, smoothed, at the learning rate that brings its mean down most."""
    smooth = dataset["loss"].rolling(step=10, min_periods=1).mean()
    mean = smooth.mean("step", skipna=False)
    best = mean.fillna(np.inf).argmin("rate")
    return smooth.isel(rate=best)
