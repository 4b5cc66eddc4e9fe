r"""Sums of S-shapes approximate everything: how fast, and of what they are made.

Figure: the S-shaped pieces of a trained network and their sum; the exact law of randomly drawn
pieces, 1/(6n) for steps; squared errors of trained networks with one hidden layer under Barron's
bound $(2 r C_f)^2 / n$; a hill in the plane made of S-shaped contours. Barron 1993, IEEE Trans.
Inf. Theory 39:930-945; Cybenko 1989; Hornik, Stinchcombe & White 1989.

    python -m experiments run universal_approximation

Time on 2 CPU cores: quick 20 s, paper over an hour (estimated). Must show: n times the error of n
random steps is 1/6 within 10 % at every n, a slope of -1 within 0.05; no trained network above the
bound. The bound is an upper one, and for few units above the variance of the target: no slope is
asserted of trained networks, which may be steeper (Makovoz 1996).
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
from flax import nnx
from jax import Array
from matplotlib.figure import Figure

import sigjax
from experiments.harness import Claim, Settings, gather, over_devices, sweep
from experiments.harness.settings import wrong_value
from experiments.harness.style import COLOURS

from ._networks import Network, trainer
from ._random_pieces import GAIN, random_pieces
from ._targets import TARGETS, Target, in_ball, on_line

DRAWN_UNITS = 4  # of the network whose pieces are shown
PLANE_UNITS = 16


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Random pieces drawn, and networks trained."""

    repeats: int = 2000
    """Random networks for each number of pieces."""
    targets: tuple[str, ...] = tuple(TARGETS)
    """Functions to approximate; the two that are drawn are cos 6x and the 2-D Gaussian."""
    units: tuple[int, ...] = (1, 4, 16, 64)
    """Hidden units of the trained networks; 4 and 16 are drawn."""
    points: int = 512
    """Points of the ball on which the squared error is trained and measured."""
    steps: int = 1500
    """Steps of Adam, with a rate that falls to 0 along a cosine."""
    learning_rate: float = 0.03
    """Adam's first rate."""
    seeds: int = 3
    """Starts of each network."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not {"cos 6x", "Gaussian, 2-D"} <= set(self.targets) <= set(TARGETS):
            known = ", ".join(map(repr, TARGETS))
            raise wrong_value("targets", f"some of {known}, the two that are drawn", self.targets)
        if not {DRAWN_UNITS, PLANE_UNITS} <= set(self.units):
            wanted = f"numbers with {DRAWN_UNITS} and {PLANE_UNITS} among them"
            raise wrong_value("units", wanted, self.units)

    @classmethod
    def quick(cls) -> "Config":
        """Up to 64 units, 1,500 steps, 2,000 repeats."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Up to 1,024 units, 30,000 steps, 20,000 repeats."""
        return cls(
            repeats=20_000, units=(1, 4, 16, 64, 256, 1024), points=2048, steps=30_000, seeds=10
        )


def _train(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    """The squared error of every start, and the pieces of the best network."""
    target = TARGETS[point["target"]]
    for_points, for_tests, for_starts = jax.random.split(key, 3)
    inputs = in_ball(for_points, config.points, target)
    tests = in_ball(for_tests, 4 * config.points, target)
    values = target.function(tests)
    errors, weights = over_devices(
        trainer(point["units"], config.steps, config.learning_rate),
        jax.random.split(for_starts, config.seeds),
        *(jnp.float32(target.radius), inputs, target.function(inputs), tests, values),
        in_axes=(0, None, None, None, None, None),
    )
    best = Network(target.radius, point["units"], nnx.Rngs(0))
    nnx.update(best, jax.tree.map(lambda leaf: leaf[int(np.argmin(errors))], weights))
    trained = xr.Dataset(
        {
            "squared_error": ("seed", np.asarray(errors, np.float64)),
            "variance": float(jnp.var(values)),
            "bound": (2 * target.radius * target.constant) ** 2 / point["units"],
        },
        coords={"seed": range(config.seeds)},
    )
    return xr.merge([trained, _drawn(point, target, best)])


_GRID = 81


def _drawn(point: Mapping[str, Any], target: Target, network: Network) -> xr.Dataset:
    """The pieces of the networks in the figure; nothing of the others."""
    line = jnp.linspace(-1.0, 1.0, _GRID) * target.radius
    place = np.asarray(line, np.float64)
    if point["target"] == "cos 6x" and point["units"] == DRAWN_UNITS:
        pieces = sigjax.sigmoid(network.hidden(on_line(line))) * network.output.kernel[...][:, 0]
        return xr.Dataset(
            {
                "piece": (("place", "unit"), np.asarray(pieces, np.float64)),
                "offset": float(network.output(jnp.zeros(DRAWN_UNITS))[0]),
            },
            coords={"place": place, "unit": range(DRAWN_UNITS)},
        )
    if point["target"] == "Gaussian, 2-D" and point["units"] == PLANE_UNITS:
        plane = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), axis=-1)
        ridges = jnp.vstack([network.hidden.kernel[...], network.hidden(jnp.zeros(2))])
        return xr.Dataset(
            {
                "plane": (("x1", "x2"), np.asarray(network(plane), np.float64)),
                "ridge": (("weight", "plane_unit"), np.asarray(ridges, np.float64)),
            },
            coords={
                "x1": place,
                "x2": place,
                "weight": ["w1", "w2", "b"],
                "plane_unit": range(PLANE_UNITS),
            },
        )
    return xr.Dataset()


def measure(config: Config, key: Array) -> xr.Dataset:
    """Draws random pieces, and trains a network for every target and number of units."""
    for_pieces, for_networks = jax.random.split(key)
    points = [
        {"target": target, "units": units} for target in config.targets for units in config.units
    ]
    parts = sweep(points, functools.partial(_train, config=config, key=for_networks))
    trained = gather(points, parts)
    return xr.merge([trained, random_pieces(config.repeats, for_pieces)])


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The exact law at every n, and the bound."""
    found = []
    scaled = dataset["error"].mean("repeat") * dataset["pieces"] / dataset["law"]
    for shape in dataset["shape"].values:
        part = scaled.sel(shape=shape)
        law = float(dataset["law"].sel(shape=shape))
        source = "Maurey: (E|psi|^2 - |f|^2) / n" + (", 1/(6n)" if shape == "steps" else "")
        mean = dataset["error"].sel(shape=shape).mean("repeat")
        slope = np.polyfit(np.log(dataset["pieces"]), np.log(mean), 1)[0]
        found += [
            Claim(
                name=f"random {shape}: n times the mean squared error over {law:.5f}, worst n",
                source=source,
                expected=1.0,
                measured=float(part[int(np.abs(part.values - 1).argmax())]),
                tolerance=0.1,
                kind="statistical",
            ),
            Claim(
                name=f"random {shape}: slope of log error over log n",
                source=source,
                expected=-1.0,
                measured=float(slope),
                tolerance=0.05,
                kind="statistical",
            ),
        ]
    best = dataset["squared_error"].min("seed")
    ratio = best / dataset["bound"]
    for target in dataset["target"].values:
        part = best.sel(target=target)
        few, many = float(part[0]), float(part.min())
        found += [
            Claim(
                name=f"{target}: squared error over Barron's bound, worst n",
                source="Barron 1993, (2 r C_f)^2 / n; a network at least this good exists",
                expected=1.0,
                measured=float(ratio.sel(target=target).max()),
                kind="exact",
                relation="<=",
            ),
            Claim(
                name=f"{target}: squared error with one unit over the least one",
                source="universal approximation: more units, less error",
                expected=100,
                measured=few / many,
                kind="qualitative",
                relation=">=",
            ),
        ]
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Pieces, the law of random ones, the bound, and the plane."""
    figure, ((pieces, law), (bound, plane)) = plt.subplots(2, 2, figsize=(12, 8.5))
    _plot_pieces(pieces, dataset.sel(target="cos 6x", units=DRAWN_UNITS))
    n = dataset["pieces"].values.astype(float)
    for shape, colour in zip(dataset["shape"].values, COLOURS, strict=False):
        errors = dataset["error"].sel(shape=shape)
        label = f"random {shape}" + (f" of gain {GAIN:g}" if shape == "sigmoids" else "")
        law.errorbar(
            n,
            errors.mean("repeat"),
            # twice the standard error
            2 * errors.std("repeat") / np.sqrt(errors.sizes["repeat"]),
            fmt="o",
            color=colour,
            label=label,
        )
        constant = float(dataset["law"].sel(shape=shape))
        words = "1/(6n)" if shape == "steps" else f"{constant:.4f}/n"
        law.plot(n, constant / n, color=colour, linewidth=1, label=f"exact: {words}")
    law.set_xscale("log", base=2)
    law.set_yscale("log")
    law.set_xlabel("random pieces n (1)")
    law.set_ylabel("mean squared error (1)")
    law.set_title("the mean of n random S-shapes")
    law.legend()
    units = dataset["units"].values.astype(float)
    for target, colour in zip(dataset["target"].values, COLOURS, strict=False):
        part = dataset.sel(target=target)
        bound.plot(units, part["squared_error"].min("seed"), "o-", color=colour, label=str(target))
        bound.plot(units, part["bound"], "--", color=colour, linewidth=1)
        bound.axhline(float(part["variance"][0]), color=colour, linewidth=0.8, linestyle=":")
    bound.plot([], [], "--", color="0.3", label="Barron's bound")
    bound.plot([], [], ":", color="0.3", label="variance of the target")
    bound.set_xscale("log", base=2)
    bound.set_yscale("log")
    bound.set_ylim(bottom=1e-9)
    bound.set_xlabel("hidden units n (1)")
    bound.set_ylabel("squared error, best start (1)")
    bound.set_title("trained networks stay under the bound")
    bound.legend(ncols=2, loc="lower left")
    _plot_plane(plane, dataset.sel(target="Gaussian, 2-D", units=PLANE_UNITS))
    return figure


def _plot_pieces(axis: Any, part: xr.Dataset) -> None:
    kept = part["piece"].dropna("place", how="all").dropna("unit", how="all")
    x = kept["place"].values
    for unit in kept["unit"].values:
        label = "S-shaped pieces c σ(wx + b)" if unit == 0 else None
        axis.plot(x, kept.sel(unit=unit), color="0.65", linewidth=1.2, label=label)
    axis.plot(x, kept.sum("unit") + part["offset"], color=COLOURS[1], label="their sum, + offset")
    axis.plot(x, np.cos(6 * x), ":", color="black", label="cos 6x")
    axis.set_xlabel("x (1)")
    axis.set_ylabel("value (1)")
    axis.set_title(f"{DRAWN_UNITS} sigmoids make a wave")
    low, high = axis.get_ylim()
    axis.set_ylim(top=high + 0.2 * (high - low))  # room for the legend
    axis.legend(ncols=2, loc="upper center")


def _plot_plane(axis: Any, part: xr.Dataset) -> None:
    surface = part["plane"].dropna("x1", how="all").dropna("x2", how="all")
    x = surface["x1"].values
    image = axis.contourf(x, x, surface.values.T, levels=np.linspace(-0.1, 1.1, 13), extend="both")
    ridges = part["ridge"].dropna("plane_unit", how="all")
    for index in range(ridges.sizes["plane_unit"]):
        w1, w2, b = ridges.isel(plane_unit=index).values
        # the line w x + b = 0, through its point nearest to 0
        foot = -b * np.array([w1, w2]) / (w1**2 + w2**2)
        axis.axline(tuple(foot), tuple(foot + np.array([-w2, w1])), color="white", linewidth=0.8)
    radius = TARGETS["Gaussian, 2-D"].radius
    axis.add_patch(plt.Circle((0, 0), radius, fill=False, color="black", linestyle=":"))
    axis.set_xlim(-radius, radius)
    axis.set_ylim(-radius, radius)
    axis.set_aspect("equal")
    axis.grid(visible=False)
    axis.set_xlabel("x₁ (1)")
    axis.set_ylabel("x₂ (1)")
    axis.set_title(f"a hill of {PLANE_UNITS} sigmoids (white: where each turns)")
    axis.figure.colorbar(image, ax=axis, label="output of the network (1)")
