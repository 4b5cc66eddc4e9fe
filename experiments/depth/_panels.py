"""The panels of the gradient depth figure; each draws what it finds in the dataset."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ._activations import ACTIVATIONS
from ._initializers import INITIALIZERS
from ._normalization import NORMS
from ._profile import EDGE, log10_bound, log10_rate, only, select

DEEP = (("sigmoid", "standard"), ("tanh", "standard"), ("tanh", "orthogonal"), ("relu", "he"))
"""Networks that are measured at every depth: (activation, weights)."""

# Okabe & Ito's palette: distinct for every kind of colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_THEORY: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.0}


def _spread(axis: Axes, profile: xr.DataArray, **style: Any) -> None:
    """Draws the median over seeds, and all seeds between a thin band's edges."""
    (line,) = axis.plot(profile["layer"], profile.median("seed"), **style)
    axis.fill_between(
        profile["layer"],
        profile.min("seed"),
        profile.max("seed"),
        color=line.get_color(),
        alpha=0.2,
        linewidth=0,
    )


def _relative(profile: xr.DataArray) -> xr.DataArray:
    return profile - profile.isel(layer=-1)


def _style_legend(axis: Axes, entries: Iterable[tuple[str, dict]], **place: Any) -> None:
    handles = [Line2D([], [], label=label, **style) for label, style in entries]
    axis.legend(handles=handles, fontsize=8, frameon=False, **place)


def bound(axis: Axes, dataset: xr.Dataset) -> None:
    """The sigmoid's gradient under the article's chain, the norms' chain and mean field."""
    chosen = {"role": "profile", "activation": "sigmoid", "initializer": "standard"}
    network = only(dataset, data="digits", **chosen)
    layer, depth = network["layer"], int(network["depth"])
    to_top = depth - layer
    for data, colour in zip(("digits", "gaussian"), _COLOURS, strict=False):
        profile = only(dataset, data=data, **chosen)["log10_preactivation_gradient"]
        _spread(axis, _relative(profile), color=colour, label=f"measured, {data}")
    axis.plot(layer, -to_top * np.log10(4), color="grey", label=r"article: $4^{-(L-l)}$")
    chain = log10_bound(network) - network["log10_preactivation_gradient"].isel(layer=-1)
    axis.plot(
        layer, chain.median("seed"), color="grey", linestyle=":", label=r"bound: $\prod \|W\|_2/4$"
    )
    axis.plot(
        layer,
        to_top * network["theory_log10_rate"],
        **_THEORY,
        label=r"mean field: $\sqrt{\chi_1}$ per layer",
    )
    axis.set(
        title="Sigmoid: what the bound allows, what happens",
        xlabel="layer $l$",
        ylabel=r"$\log_{10}\,\|\delta_l\| / \|\delta_L\|$",
    )
    axis.legend(fontsize=8, frameon=False)


def activations(axis: Axes, dataset: xr.Dataset) -> None:
    """All activations with standard and with orthogonal weights."""
    for name, colour in zip(ACTIVATIONS, _COLOURS, strict=True):
        for initializer, line in (("standard", "-"), ("orthogonal", ":")):
            network = only(
                dataset, role="profile", activation=name, initializer=initializer, data="digits"
            )
            _spread(
                axis,
                _relative(network["log10_preactivation_gradient"]),
                color=colour,
                linestyle=line,
            )
    entries = [
        (name.replace("_", " "), {"color": colour})
        for name, colour in zip(ACTIVATIONS, _COLOURS, strict=True)
    ]
    styles = [
        ("standard U[±1/√n]", {"color": "grey"}),
        ("orthogonal", {"color": "grey", "linestyle": ":"}),
    ]
    _style_legend(axis, entries + styles, ncols=2, loc="lower right")
    axis.set(
        title="Activations", xlabel="layer $l$", ylabel=r"$\log_{10}\,\|\delta_l\| / \|\delta_L\|$"
    )


def initializers(axis: Axes, dataset: xr.Dataset) -> None:
    """Every weight distribution, for the sigmoid and for tanh."""
    for name, colour in zip(INITIALIZERS, _COLOURS, strict=False):
        for activation, line in (("sigmoid", "-"), ("tanh", ":")):
            network = only(
                dataset, role="profile", activation=activation, initializer=name, data="digits"
            )
            _spread(axis, _relative(network["log10_weight_gradient"]), color=colour, linestyle=line)
    entries = [
        (name, {"color": colour}) for name, colour in zip(INITIALIZERS, _COLOURS, strict=False)
    ]
    styles = [("sigmoid", {"color": "grey"}), ("tanh", {"color": "grey", "linestyle": ":"})]
    _style_legend(axis, entries + styles, ncols=2)
    axis.set(
        title="Weights",
        xlabel="layer $l$",
        ylabel=r"$\log_{10}\,\|\partial L/\partial W_l\| / \|\partial L/\partial W_L\|$",
    )


def remedies(axis: Axes, dataset: xr.Dataset) -> None:
    """Normalisation and residual links, for the sigmoid and for ReLU."""
    for norm, colour in zip(NORMS, _COLOURS, strict=False):
        for residual, line in ((0, "-"), (1, "--")):
            for activation, initializer, width in (("sigmoid", "standard", 2), ("relu", "he", 0.8)):
                network = only(
                    dataset,
                    role="variant",
                    activation=activation,
                    norm=norm,
                    initializer=initializer,
                    residual=residual,
                    data="digits",
                )
                _spread(
                    axis,
                    _relative(network["log10_weight_gradient"]),
                    color=colour,
                    linestyle=line,
                    linewidth=width,
                )
    entries: list[tuple[str, dict[str, Any]]] = [
        ({"none": "no norm"}.get(norm, f"{norm} norm"), {"color": colour})
        for norm, colour in zip(NORMS, _COLOURS, strict=False)
    ]
    styles: list[tuple[str, dict[str, Any]]] = [
        ("residual", {"color": "grey", "linestyle": "--"}),
        ("sigmoid, standard", {"color": "grey", "linewidth": 2}),
        ("ReLU, He", {"color": "grey", "linewidth": 0.8}),
    ]
    _style_legend(axis, entries + styles, ncols=2)
    axis.set(
        title="Normalisation and residual links",
        xlabel="layer $l$",
        ylabel=r"$\log_{10}\,\|\partial L/\partial W_l\| / \|\partial L/\partial W_L\|$",
    )


def deepest(axis: Axes, dataset: xr.Dataset) -> None:
    """Depth 1,000, with what float32 and float16 can hold."""
    depth = int(select(dataset, role="deep")["depth"].max())
    for (activation, initializer), colour in zip(DEEP, _COLOURS, strict=False):
        network = only(
            dataset, role="deep", activation=activation, initializer=initializer, depth=depth
        )
        _spread(
            axis,
            network["log10_preactivation_gradient"],
            color=colour,
            label=f"{activation}, {initializer}",
        )
    network = only(dataset, role="deep", activation="sigmoid", depth=depth)
    top = float(network["log10_preactivation_gradient"].isel(layer=-1).mean())
    axis.plot(
        network["layer"],
        top + (depth - network["layer"]) * network["theory_log10_rate"],
        **_THEORY,
        label=r"mean field, sigmoid",
    )
    naive = network["log10_naive_weight_gradient"].isel(seed=0)
    naive = naive.where(np.isfinite(naive))
    axis.plot(
        naive["layer"],
        naive,
        color="red",
        linewidth=3,
        solid_capstyle="butt",
        label="jax.grad in float32, until 0",
    )
    for dtype, line in (("float16", ":"), ("float32", "-.")):
        least = float(jnp.finfo(dtype).smallest_subnormal)
        axis.axhline(
            np.log10(least),
            color="grey",
            linewidth=1,
            linestyle=line,
            label=f"smallest {dtype}: {least:.0e}",
        )
    axis.set(
        title=f"Depth {depth:,} in float32", xlabel="layer $l$", ylabel=r"$\log_{10}\,\|\delta_l\|$"
    )
    axis.legend(fontsize=8, frameon=False)


def rates(axis: Axes, dataset: xr.Dataset) -> None:
    """Measured rate per layer against depth, beside the theory's."""
    deep = select(dataset, role="deep")
    depths = np.unique(deep["depth"].values)
    for (activation, initializer), colour in zip(DEEP, _COLOURS, strict=False):
        networks = [
            only(deep, activation=activation, initializer=initializer, depth=depth)
            for depth in depths
        ]
        found = np.array([10 ** log10_rate(network).values for network in networks])
        axis.errorbar(
            depths,
            found.mean(1),
            found.std(1),
            color=colour,
            marker="o",
            capsize=3,
            linestyle="none",
            label=f"{activation}, {initializer}",
        )
        axis.axhline(10 ** float(networks[0]["theory_log10_rate"]), color=colour, linewidth=0.8)
    wide = only(dataset, role="wide")
    axis.plot(
        int(wide["depth"]),
        10 ** float(log10_rate(wide).mean()),
        color=_COLOURS[0],
        marker="*",
        markersize=12,
        linestyle="none",
        label=f"sigmoid, width {int(wide['width'])}",
    )
    axis.plot([], [], color="grey", linewidth=0.8, label=r"mean field $\sqrt{\chi_1}$")
    axis.set(
        title=f"Rate per layer, without {EDGE} layers at each end",
        xscale="log",
        xlabel="depth $L$",
        ylabel=r"$\|\delta_l\| / \|\delta_{l+1}\|$, geometric mean",
        ylim=(0, 1.3),
    )
    axis.legend(fontsize=8, frameon=False, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.28))


PANELS = (bound, activations, initializers, remedies, deepest, rates)
"""In reading order."""
