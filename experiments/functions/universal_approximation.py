r"""Sums of S-shapes approximate everything: how fast, and of what they are made.

Figure: the S-shaped pieces of a trained network and their sum; the exact law of randomly drawn
pieces, 1/(6n) for steps, which is how Barron proved that n units leave a squared error of order
1/n; what trained networks leave, far below it; a hill in the plane made of S-shaped contours.
Barron 1993, IEEE Trans. Inf. Theory 39:930-945; Makovoz 1996, J. Approx. Theory 85:98-109;
Cybenko 1989; Hornik, Stinchcombe & White 1989.

    python -m experiments run universal_approximation

Time on 2 CPU cores: quick 20 s, paper 8 min. Must show: n times the error of n
random steps is 1/6 and the slope -1, both within four standard errors; trained networks fall as
fast as Makovoz's n^(-1 - 1/d) or faster, and 4 units leave at most a quarter of the variance that 4
random steps leave.

The paper preset stops at 256 units, 512 points and 20,000 steps of Adam. From 16 or 64 units on the
error does not fall any further: what is left is how far Adam comes, in float32, not what the units
could do, so that more of them show nothing more.
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
from experiments.harness.style import COLOURS, THEORY

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
    steps: int = 2500
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
        """Up to 64 units, 2,500 steps, 2,000 repeats."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Up to 256 units, 20,000 steps, 20,000 repeats."""
        return cls(repeats=20_000, units=(1, 4, 16, 64, 256), steps=20_000, seeds=10)


def _train(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    """The squared error of every start, and the pieces of the best network."""
    target = TARGETS[point["target"]]
    for_points, for_tests, for_starts = jax.random.split(key, 3)
    inputs = in_ball(for_points, config.points, target)
    tests = in_ball(for_tests, 4 * config.points, target)
    values = target.function(tests)
    data = (jnp.float32(target.radius), inputs, target.function(inputs), tests, values)
    # One after the other: what a step needs of one network fits into a core's cache.
    trained = over_devices(
        trainer(point["units"], config.steps, config.learning_rate),
        jax.random.split(for_starts, config.seeds),
        *(jnp.broadcast_to(each, (config.seeds, *each.shape)) for each in data),
        one_by_one=True,
    )
    best = int(np.argmin(trained.squared_error))
    shapes = nnx.eval_shape(lambda: Network(target.radius, point["units"], nnx.Rngs(0)))
    network = nnx.merge(
        nnx.graphdef(shapes), jax.tree.map(lambda leaf: leaf[best], trained.weights)
    )
    found = xr.Dataset(
        {
            "squared_error": ("seed", np.asarray(trained.squared_error, np.float64)),
            "largest_error": float(trained.largest_error[best]),
            "variance": float(jnp.var(values)),
        },
        coords={"seed": range(config.seeds)},
    )
    return xr.merge([found, _drawn(point, target, network)])


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


def cost(point: Mapping[str, Any]) -> float:
    """Relative time of a point: a constant, and by its units."""
    return 25.0 + point["units"]


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
    """The law of random pieces, and how much better trained ones are."""
    return [*_random_claims(dataset), *_trained_claims(dataset)]


def _random_claims(dataset: xr.Dataset) -> list[Claim]:
    """Each within four standard errors of the mean over the random networks."""
    n = dataset["pieces"].values
    drawn = dataset["error"] * dataset["pieces"] / dataset["law"]
    means = drawn.mean("repeat")
    deviations = drawn.std("repeat") / np.sqrt(drawn.sizes["repeat"])
    # A slope is a weighted sum of what it is fitted to.
    weights = np.log(n) - np.log(n).mean()
    weights = weights / np.sum(weights**2)
    found = []
    for shape in dataset["shape"].values:
        mean, deviation = means.sel(shape=shape).values, deviations.sel(shape=shape).values
        worst = int(np.argmax(np.abs(mean - 1) / deviation))
        law = float(dataset["law"].sel(shape=shape))
        source = "Maurey: (E|psi|^2 - |f|^2) / n" + (", 1/(6n)" if shape == "steps" else "")
        found += [
            Claim(
                name=f"random {shape}: n times the mean squared error, all n",
                source=source,
                expected=law,
                measured=law * float(mean.mean()),
                tolerance=4 * law * float(np.sqrt(np.sum(deviation**2))) / len(n),
                kind="statistical",
            ),
            Claim(
                name=f"random {shape}: n times the mean squared error, worst n ({n[worst]})",
                source=source,
                expected=law,
                measured=law * float(mean[worst]),
                tolerance=4 * law * float(deviation[worst]),
                kind="statistical",
            ),
            Claim(
                name=f"random {shape}: slope of log error over log n",
                source=source,
                expected=-1.0,
                measured=float(weights @ np.log(mean)) - 1,
                tolerance=4 * float(np.sqrt(np.sum((weights * deviation / mean) ** 2))),
                kind="statistical",
            ),
        ]
    return found


def _trained_claims(dataset: xr.Dataset) -> list[Claim]:
    best = dataset["squared_error"].min("seed")
    few, many = int(dataset["units"].min()), PLANE_UNITS
    found = []
    for name in dataset["target"].values:
        target = best.sel(target=name)
        slope = np.log(float(target.sel(units=many) / target.sel(units=few))) / np.log(many / few)
        found += [
            Claim(
                name=f"{name}: slope of log squared error over log units, {few} to {many}",
                source="Makovoz 1996: n^(-1 - 1/d) in d dimensions, even for steps",
                expected=-1 - 1 / TARGETS[name].dimensions,
                measured=slope,
                kind="qualitative",
                relation="<=",
            ),
            Claim(
                name=f"{name}: largest error anywhere, most exact network",
                source="Cybenko 1989: as near as one likes, everywhere",
                expected=0.05,
                measured=float(dataset["largest_error"].sel(target=name).min()),
                kind="qualitative",
                relation="<=",
            ),
        ]
    left = (best / dataset["variance"]).sel(units=DRAWN_UNITS)
    found.append(
        Claim(
            name=f"what {DRAWN_UNITS} units leave of the variance over what random steps do, worst",
            source="1/(6n) of the 1/12 that f(x) = x has: random steps leave 2/n",
            expected=0.25,
            measured=float(left.max()) / (2 / DRAWN_UNITS),
            kind="qualitative",
            relation="<=",
        )
    )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Pieces, the law of random ones, trained ones, and the plane."""
    figure, ((pieces, law), (trained, plane)) = plt.subplots(2, 2, figsize=(12, 8.5))
    _plot_pieces(pieces, dataset.sel(target="cos 6x", units=DRAWN_UNITS))
    n = dataset["pieces"].values.astype(float)
    for shape, colour in zip(dataset["shape"].values, COLOURS, strict=False):
        errors = dataset["error"].sel(shape=shape)
        constant = float(dataset["law"].sel(shape=shape))
        words = "1/(6n)" if shape == "steps" else f"gain {GAIN:g}; {constant:.4f}/n"
        law.errorbar(
            n,
            errors.mean("repeat"),
            # twice the standard error
            2 * errors.std("repeat") / np.sqrt(errors.sizes["repeat"]),
            fmt="o",
            color=colour,
            label=f"random {shape} ({words})",
        )
        law.plot(n, constant / n, **THEORY)
    law.plot([], [], **THEORY, label="exact law")
    law.set_xscale("log", base=2)
    law.set_yscale("log")
    law.set_xlabel("random pieces n (1)")
    law.set_ylabel("mean squared error (1)")
    law.set_title("the mean of n random S-shapes")
    law.legend()
    units = dataset["units"].values.astype(float)
    for target, colour in zip(dataset["target"].values, COLOURS, strict=False):
        part = dataset.sel(target=target)
        left = part["squared_error"] / part["variance"]
        trained.plot(units, left.min("seed"), "o-", color=colour, label=str(target))
        low, high = left.min("seed"), left.max("seed")
        trained.fill_between(units, low, high, color=colour, alpha=0.15, linewidth=0)
    trained.plot(units, 2 / units, **THEORY, label="random steps, f(x) = x: 2/n")
    trained.set_xscale("log", base=2)
    trained.set_yscale("log")
    trained.set_xlabel("hidden units n (1)")
    trained.set_ylabel("squared error over the target's variance (1)")
    trained.set_title("trained pieces: best start, and all of them")
    trained.legend(loc="lower left")
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
