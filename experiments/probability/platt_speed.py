"""Time of many calibrations at once, over that of scikit-learn's, one by one.

Figure: none of a paper's; seconds that Platt's sigmoid takes for 1 to 1,000 problems, in one
vmapped call of `sigjax.calibration.fit_platt` and in a loop over scikit-learn's.

    python -m experiments run platt_speed

Time on 2 CPU cores: quick 10 s, paper 90 s. Must show: a thousand fits of a thousand points at
least 10 times as fast as scikit-learn's loop, in float32; float64 is reported. Both in one
process, in an order drawn anew each round, medians; compilation is apart.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure
from sklearn.calibration import _sigmoid_calibration

from experiments.harness import Claim, Settings, gather, sweep
from experiments.harness.stopwatch import Call, Contestant, contestants, median_seconds
from experiments.harness.style import COLOURS, MEANING
from sigjax.calibration import fit_platt

from ._distortions import DISTORTIONS

TIMED = True
DTYPES = ("float32", "float64")
PEER = "scikit-learn, float64"
_BAR = 10.0  # scikit-learn's time over ours, in float32


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Problems, and how often they are solved."""

    fits: tuple[int, ...] = (1, 30, 1000)
    """Numbers of problems that are fitted side by side."""
    points: int = 1000
    """Scores of a problem."""
    rounds: int = 3
    """Timed rounds."""

    @classmethod
    def quick(cls) -> "Config":
        """Medians of 3 rounds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Medians of 25 rounds."""
        return cls(fits=(1, 3, 10, 30, 100, 300, 1000), rounds=25)


def _ours(scores: np.ndarray, labels: np.ndarray) -> dict[str, Contestant]:
    """One call of all fits in each dtype."""
    calls = {}
    for dtype in DTYPES:
        with jax.enable_x64(dtype == "float64"):
            arguments = jnp.asarray(scores, dtype), jnp.asarray(labels, dtype)
            calls[f"sigjax, {dtype}"] = Call.of(jax.vmap(fit_platt), *arguments)
    return contestants(calls)


def _theirs(scores: np.ndarray, labels: np.ndarray) -> Contestant:
    def run() -> list[tuple[float, float]]:
        return [_sigmoid_calibration(*one) for one in zip(scores, labels, strict=True)]

    return run


def _time(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    for_scores, for_labels = jax.random.split(key)
    drawn = jax.random.normal(for_scores, (point["fits"], config.points))
    right = jax.random.bernoulli(for_labels, DISTORTIONS["sigmoid"](drawn))
    scores, labels = np.asarray(drawn, np.float64), np.asarray(right, np.int32)
    running = _ours(scores, labels) | {PEER: _theirs(scores, labels)}
    seconds = median_seconds(running, config.rounds)
    return xr.Dataset(
        {"seconds": ("contestant", list(seconds.values()))},
        coords={"contestant": list(seconds)},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Races for every number of problems."""
    points = [{"fits": count} for count in config.fits]
    dataset = gather(points, sweep(points, functools.partial(_time, config=config, key=key)))
    dataset["seconds"].attrs = {"long_name": "median time of all fits", "units": "s"}
    return dataset.assign_attrs(points=config.points)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """scikit-learn's time over ours for the most problems."""
    most = dataset["seconds"].isel(fits=-1)
    found = {
        dtype: Claim(
            name=f"{int(most['fits'])} fits of {dataset.attrs['points']} points, {dtype}: "
            "scikit-learn's time over that of one call",
            source="this project's bar, on a CPU",
            expected=_BAR,
            measured=float(most.sel(contestant=PEER) / most.sel(contestant=f"sigjax, {dtype}")),
            kind="statistical",
            relation=">=",
        )
        for dtype in DTYPES
    }
    return [found["float32"], found["float64"].for_information()]


_COLOURS = {
    "sigjax, float32": MEANING["sigjax"],
    "sigjax, float64": COLOURS[0],
    PEER: MEANING["peer"],
}


def plot(dataset: xr.Dataset) -> Figure:
    """Seconds over the number of problems, and the ratio."""
    figure, (times, ratios) = plt.subplots(1, 2, figsize=(10, 4))
    seconds = dataset["seconds"]
    for contestant, mark in zip(seconds["contestant"].values, "os^", strict=True):
        of_one = seconds.sel(contestant=contestant)
        colour = _COLOURS[str(contestant)]
        times.plot(seconds["fits"], of_one, f"{mark}-", color=colour, label=contestant)
        if contestant != PEER:
            ratio = seconds.sel(contestant=PEER) / of_one
            ratios.plot(seconds["fits"], ratio, f"{mark}-", color=colour, label=contestant)
    ratios.axhline(_BAR, color="black", linewidth=1, linestyle=":", label="bar, float32")
    ratios.axhline(1, color="0.5", linewidth=1)
    for axis in (times, ratios):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("problems (1)")
        axis.legend()
    times.set_ylabel("time of all fits (s)")
    times.set_title(f"Platt's sigmoid for {dataset.attrs['points']} points")
    ratios.set_ylabel("scikit-learn's time over sigjax's (1)")
    ratios.set_title("one vmapped call against a loop")
    return figure
