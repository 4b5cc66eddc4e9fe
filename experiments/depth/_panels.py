"""The panels of the gradient depth figure; each draws what it finds in the dataset."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness.style import COLOURS, MEANING, THEORY

from ._profile import EDGE, expected_profile, log10_bound, log10_rate, only, select

DEEP = (("sigmoid", "standard"), ("tanh", "standard"), ("tanh", "orthogonal"), ("relu", "he"))
"""Networks that are measured at every depth: (activation, weights)."""

HERO = (*DEEP, ("sigmoid", "orthogonal"))
"""The networks that carry the argument."""

# Networks that have no colour of their own in all figures take one of the others.
_NETWORK_COLOURS = {
    ("sigmoid", "standard"): MEANING["sigmoid"],
    ("tanh", "standard"): MEANING["tanh"],
    ("tanh", "orthogonal"): COLOURS[2],
    ("relu", "he"): MEANING["relu"],
    ("sigmoid", "orthogonal"): COLOURS[4],
}


def descend(axis: Axes, profile: xr.DataArray, **style: Any) -> float:
    """Draws a gradient on its way down, all seeds in a band; returns where their median ends."""
    below = profile.sizes["layer"] - np.arange(1, profile.sizes["layer"] + 1)
    (line,) = axis.plot(below, profile.median("seed"), **style)
    axis.fill_between(
        below,
        profile.min("seed"),
        profile.max("seed"),
        color=line.get_color(),
        alpha=0.2,
        linewidth=0,
    )
    return float(profile.isel(layer=0).median())


def relative(profile: xr.DataArray) -> xr.DataArray:
    """What is left of the last layer's gradient, as a logarithm."""
    return profile - profile.isel(layer=-1)


Ends = list[tuple[float, str, str]]
"""Labels of curves: height at their right end, text, colour."""

# Heights of two labels differ by this share of the axis at least: a line of small type.
_LINE = 0.045


def label_ends(axis: Axes, ends: Ends) -> None:
    """Names curves where they end at the right; labels that would overlap move apart."""
    bottom, top = axis.get_ylim()
    ordered = sorted(ends)
    heights = np.array([(height - bottom) / (top - bottom) for height, _, _ in ordered])
    steps = _LINE * np.arange(len(heights))
    heights = np.maximum.accumulate(heights - steps) + steps
    # What was pushed above the top comes down again, with the labels below it.
    ceiling = 1 - steps[::-1]
    heights = np.minimum(heights, ceiling)
    for height, (_, text, colour) in zip(heights, ordered, strict=True):
        axis.text(1.01, height, text, color=colour, transform=axis.transAxes, va="center", size=9)


def label_axes(axis: Axes, title: str, quantity: str, depth: int) -> None:
    """Titles a panel whose curves go down from the last layer."""
    axis.set(title=title, xlabel="layers below the last, $L - l$", ylabel=quantity)
    axis.set_xlim(0, depth - 1)


PREACTIVATION = r"$\log_{10}\,\|\delta_l\| / \|\delta_L\|$"
WEIGHT = r"$\log_{10}\,\|\partial L/\partial W_l\| / \|\partial L/\partial W_L\|$"


def hero(axis: Axes, dataset: xr.Dataset) -> None:
    """What is left of the gradient on its way down, beside the article's chain and the theory."""
    plain = select(dataset, role="profile", data="digits")
    sigmoid = only(plain, activation="sigmoid", initializer="standard")
    depth = int(sigmoid["depth"])
    below = depth - sigmoid["layer"].values
    article = -below * np.log10(4)
    axis.plot(below, article, color="0.8", linewidth=7, solid_capstyle="butt")
    chain = (log10_bound(sigmoid) - sigmoid["log10_preactivation_gradient"].isel(layer=-1)).median(
        "seed"
    )
    axis.plot(below, chain, color="0.35", linestyle=":")
    ends: Ends = [
        (article[0], "the article: 1/4 a layer", "0.5"),
        (float(chain[0]), r"bound of sigmoid, standard: $\|W\|_2/4$", "0.35"),
    ]
    for activation, initializer in HERO:
        colour = _NETWORK_COLOURS[activation, initializer]
        network = only(plain, activation=activation, initializer=initializer)
        profile = relative(network["log10_preactivation_gradient"])
        rate = float(network["theory_log10_rate"])
        end = descend(axis, profile, color=colour, linewidth=2)
        axis.plot(below, expected_profile(network), **THEORY)
        ends.append((end, f"{activation}, {initializer}: {10**rate:.3g} a layer", colour))
    title = f"The gradient in {depth} plain layers (dashes: mean field)"
    label_axes(axis, title, PREACTIVATION, depth)
    label_ends(axis, ends)


def deepest(axis: Axes, dataset: xr.Dataset) -> None:
    """Depth 1,000, with what float32 and float16 can hold."""
    depth = int(select(dataset, role="deep")["depth"].max())
    ends: Ends = []
    for activation, initializer in DEEP:
        colour = _NETWORK_COLOURS[activation, initializer]
        network = only(
            dataset, role="deep", activation=activation, initializer=initializer, depth=depth
        )
        profile = network["log10_preactivation_gradient"]
        end = descend(axis, profile, color=colour)
        ends.append((end, f"{activation}, {initializer}", colour))
        top = float(profile.isel(layer=-1).mean())
        axis.plot(depth - network["layer"], top + expected_profile(network), **THEORY)
    network = only(dataset, role="deep", activation="sigmoid", depth=depth)
    naive = network["log10_naive_weight_gradient"].isel(seed=0)
    naive = naive.where(np.isfinite(naive))
    axis.plot(depth - naive["layer"], naive, color="red", linewidth=4, label="jax.grad, until 0")
    for dtype, line in (("float16", ":"), ("float32", "-.")):
        least = float(jnp.finfo(dtype).smallest_subnormal)
        label = f"smallest {dtype}: {least:.0e}"
        axis.axhline(np.log10(least), color="grey", linewidth=1, linestyle=line, label=label)
    label_axes(axis, f"Depth {depth:,} in float32", r"$\log_{10}\,\|\delta_l\|$", depth)
    axis.legend(fontsize=8, frameon=False, loc="lower left")
    label_ends(axis, ends)


def rates(axis: Axes, dataset: xr.Dataset) -> None:
    """Measured rate per layer against depth, beside the theory's."""
    deep = select(dataset, role="deep")
    depths = np.unique(deep["depth"].values)
    axis.set(ylim=(0, 1.3), xscale="log")
    ends: Ends = []
    for activation, initializer in DEEP:
        colour = _NETWORK_COLOURS[activation, initializer]
        networks = [
            only(deep, activation=activation, initializer=initializer, depth=depth)
            for depth in depths
        ]
        found = np.array([10 ** log10_rate(network).values for network in networks])
        middle, deviation = found.mean(1), found.std(1)
        axis.errorbar(depths, middle, deviation, color=colour, fmt="o", capsize=3)
        theory = 10 ** float(networks[0]["theory_log10_rate"])
        axis.axhline(theory, **THEORY)
        ends.append((theory, f"{activation}, {initializer}", colour))
    wide = only(dataset, role="wide")
    point = int(wide["depth"]), 10 ** float(log10_rate(wide).mean())
    axis.plot(*point, "*", color=MEANING["sigmoid"], markersize=12)
    axis.annotate(
        f"width {int(wide['width'])}", point, (0, 10), textcoords="offset points", ha="center"
    )
    axis.set(
        title=f"Rate per layer, without {EDGE} layers at each end (dashes: mean field)",
        xlabel="depth $L$",
        ylabel=r"$\|\delta_l\| / \|\delta_{l+1}\|$, geometric mean",
    )
    label_ends(axis, ends)


PANELS = {
    "hero": hero,
    "deepest": deepest,
    "rates": rates,
}
"""By the names of their places."""
