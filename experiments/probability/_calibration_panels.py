"""The figure of platt_scaling: reliability, what examples buy, temperatures."""

from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import sigjax
from experiments.harness.style import COLOURS
from sigjax.calibration import reliability_curve

from ._distortions import DISTORTIONS
from ._machine_scores import STAGES, held_out, problems_of


def plot(dataset: xr.Dataset) -> Figure:
    """Reliability of either problem and temperatures above, examples for either shape below."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 8))
    for axis, (name, part) in zip(axes[0], problems_of(dataset).items(), strict=False):
        _reliability(axis, name, part)
    _temperatures(axes[0, 2], dataset)
    for axis, distortion in zip(axes[1], DISTORTIONS, strict=False):
        _by_examples(axis, dataset["distance"].sel(distortion=distortion))
        axis.set_title(f"distorted by {'a sigmoid' if distortion == 'sigmoid' else distortion}")
    _shapes(axes[1, 2])
    return figure


def _reliability(axis: Any, name: str, part: xr.Dataset) -> None:
    labels = part["label"].values
    axis.plot([0, 1], [0, 1], color="0.5", linewidth=1)
    held = held_out(part)
    for stage, colour in zip(STAGES, (COLOURS[1], COLOURS[0]), strict=True):
        logits = jnp.asarray(part["logit"].sel(stage=stage).values, jnp.float32)
        seen = reliability_curve(sigjax.sigmoid(logits), labels, bins=10)
        frequency = np.asarray(seen.frequency)
        spread = np.stack([frequency - seen.low, seen.high - frequency])
        loss, error = held[stage]
        axis.errorbar(
            np.asarray(seen.probability),
            frequency,
            np.maximum(spread, 0),
            fmt="o-",
            color=colour,
            markersize=4,
            capsize=2,
            label=f"{stage}: log-loss {loss:.3f}, ECE {error:.3f}",
        )
    axis.set_xlabel("forecast probability (1)")
    axis.set_ylabel("observed frequency, 95 % (1)")
    axis.set_title(f"{name}: SVM scores, Platt's sigmoid")
    axis.set_ylim(top=1.25)  # room for the legend
    axis.legend(loc="upper left")


def _temperatures(axis: Any, dataset: xr.Dataset) -> None:
    factors = dataset["temperature"].values
    places = np.arange(len(factors))
    for shift, stage, colour in ((-0.2, "before", COLOURS[1]), (0.2, "after", COLOURS[0])):
        axis.bar(places + shift, dataset[f"temperature_{stage}"], 0.4, color=colour, label=stage)
    labels = [
        f"{true:g}\n({found:.3f})"
        for true, found in zip(factors, dataset["temperature_found"].values, strict=True)
    ]
    axis.set_xticks(places, labels)
    axis.set_xlabel("factor on the logits (temperature found)")
    axis.set_ylabel("expected calibration error (1)")
    axis.set_title("one temperature undoes one factor")
    axis.legend()


def _by_examples(axis: Any, distance: xr.DataArray) -> None:
    for calibrator in distance["calibrator"].values:
        values = distance.sel(calibrator=calibrator)
        low, high = values.quantile((0.1, 0.9), "repeat").values
        (line,) = axis.plot(values["size"], values.mean("repeat"), "o-", label=str(calibrator))
        axis.fill_between(values["size"], low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("examples for calibration (1)")
    axis.set_ylabel("squared distance from the truth (1)")
    axis.legend(title="mean; 10 % to 90 %")


def _shapes(axis: Any) -> None:
    scores = jnp.linspace(-3.0, 3.0, 301)
    for distortion, truth in DISTORTIONS.items():
        axis.plot(scores, truth(scores), label=distortion)
    axis.set_xlabel("score (1)")
    axis.set_ylabel("true probability (1)")
    axis.set_title("the two distortions")
    axis.legend()
