r"""Sigmoidal learning by theorem: every mode of a linear network learns along a logistic curve.

Figure: strength of the modes over time in a linear network with one hidden layer, trained on a
hierarchy of 32 items, over Saxe's closed form; the time of half learning over the mode's
strength; from random weights too. Saxe, McClelland & Ganguli 2014, ICLR (arXiv:1312.6120),
section 1 and figure 3: tree of 5 levels, 1000 features that flip with probability 0.1.

    python -m experiments run learning_curve

Time on 2 CPU cores: quick 10 s, paper 3 min. Must show: from decoupled weights u(t) = s sigma(2st /
tau - ln(s/u0 - 1)) to 1 %; from random weights the same shape in the same order.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array, lax
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, Within, over_devices, reported
from experiments.harness.style import THEORY
from sigjax.theory import saxe_curve, saxe_half_time

LEVELS = 5
ITEMS = 2**LEVELS
FLIP = 0.1
# Modes of figure 3, counted from 1: one for each level of the tree, and between.
MODES = (1, 2, 3, 5, 12, 18, 31)
STARTS = ("decoupled", "random")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Size of the problem and fineness of the descent."""

    features: Annotated[int, Within(ITEMS)] = 200
    """Features of an item."""
    hidden: int = 32
    """Units of the hidden layer."""
    learning_rate: float = 5e-4
    """Step of gradient descent on half the squared error."""
    start: Annotated[float, Within(0, 1, above=True)] = 1e-3
    """Strength of every mode before training."""
    steps: int = 40_000
    """Steps of gradient descent."""
    seeds: int = 4
    """Trees, and random starts."""

    @classmethod
    def quick(cls) -> "Config":
        """200 features, 4 seeds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The paper's 1000 features and start 1e-6."""
        return cls(features=1000, start=1e-6, steps=80_000, seeds=10)


def tree(key: Array, features: int) -> Array:
    """Items `[32, features]`: signs that diffuse down a binary tree, flipping at each branch."""
    root, *branches = jax.random.split(key, LEVELS + 1)
    values = jax.random.rademacher(root, (1, features), jnp.float32)
    for branch in branches:
        values = jnp.repeat(values, 2, axis=0)
        stays = jax.random.bernoulli(branch, 1 - FLIP, values.shape)
        values = jnp.where(stays, values, -values)
    return values


def measure(config: Config, key: Array) -> xr.Dataset:
    """Trains from both starts on every tree, and follows the strengths of the modes."""
    every = max(1, config.steps // 400)
    indices = jnp.array(MODES) - 1

    def run(key: Array) -> dict[str, Array]:
        for_tree, for_lower, for_upper = jax.random.split(key, 3)
        # Inputs are one-hot: the correlation of outputs and inputs is the data, here of unit norm.
        correlation = tree(for_tree, config.features).T / jnp.sqrt(config.features)
        left, strengths, right = jnp.linalg.svd(correlation, full_matrices=False)

        def descend(weights: tuple[Array, Array]) -> Array:
            def step(weights: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
                lower, upper = weights
                error = correlation - upper @ lower
                change = config.learning_rate
                return (lower + change * upper.T @ error, upper + change * error @ lower.T), None

            def block(weights: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
                seen = jnp.einsum("fi,fh,hm,im->i", left, weights[1], weights[0], right)
                weights, _ = lax.scan(step, weights, None, length=every)
                return weights, seen

            return lax.scan(block, weights, None, length=config.steps // every)[1]

        # Balanced and in the modes' own directions: the premise of the theorem.
        scale = jnp.sqrt(config.start)
        units = jnp.eye(config.hidden, ITEMS)
        decoupled = (scale * units @ right, scale * left @ units.T)
        # Random weights whose modes have the same mean square strength.
        spread = (config.start**2 / config.hidden) ** 0.25
        random = (
            spread * jax.random.normal(for_lower, (config.hidden, ITEMS)),
            spread * jax.random.normal(for_upper, (config.features, config.hidden)),
        )
        starts = jax.tree.map(lambda *weights: jnp.stack(weights), decoupled, random)
        seen = lax.map(descend, starts)[:, :, indices]
        return {"strength": strengths[indices], **dict(zip(STARTS, seen, strict=True))}

    found = over_devices(run, jax.random.split(key, config.seeds), one_by_one=True)
    # With tau = 1 a step of gradient descent takes a time of learning_rate.
    time = np.arange(config.steps // every) * every * config.learning_rate
    strength = np.asarray(found["strength"], np.float64)
    predicted = saxe_curve(
        time[:, None].astype(np.float32), strength[:, None, :].astype(np.float32), config.start
    )
    dims = ("seed", "time", "mode")
    dataset = xr.Dataset(
        {
            "strength": (("seed", "mode"), strength),
            "predicted": (dims, np.asarray(predicted, np.float64)),
            **{start: (dims, np.asarray(found[start], np.float64)) for start in STARTS},
        },
        coords={"seed": range(config.seeds), "time": time, "mode": list(MODES)},
        attrs={"start": config.start},
    )
    dataset["time"].attrs = {"long_name": "time", "units": "steps times learning rate"}
    return dataset


def _half_times(curves: xr.DataArray, strength: xr.DataArray) -> xr.DataArray:
    """When each mode first has half of its strength, between samples; NaN where it never has."""
    share = curves / strength - 0.5
    after = (share >= 0).argmax("time")
    before = (after - 1).clip(min=0)
    early, late = share.isel(time=before), share.isel(time=after)
    times = curves["time"].values
    start = after.copy(data=times[before.values])
    part = (-early / (late - early)).drop_vars("time", errors="ignore")
    found = start + part * (times[after.values] - start)
    return found.where((share >= 0).any("time") & (after > 0))


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The theorem, and what is left of it from random weights."""
    relative = np.abs(dataset["decoupled"] - dataset["predicted"]) / dataset["strength"]
    half = saxe_half_time(np.asarray(dataset["strength"], np.float32), dataset.attrs["start"])
    random = _half_times(dataset["random"], dataset["strength"])
    decoupled = _half_times(dataset["decoupled"], dataset["strength"])
    learned = random.notnull() & decoupled.notnull()
    delay = (random / np.asarray(half)).where(learned)
    order = np.corrcoef(
        np.log(dataset["strength"].values[learned.values]), np.log(random.values[learned.values])
    )[0, 1]
    source = "Saxe et al. 2014, equations 7 and 8"
    return [
        Claim(
            name="from decoupled weights: largest distance from the logistic curve, over s",
            source=source,
            expected=0.0,
            measured=float(relative.max()),
            tolerance=0.01,
            kind="exact",
        ),
        Claim(
            name="from decoupled weights: time of half learning over the formula's, worst mode",
            source=source,
            expected=1.0,
            measured=_furthest_from_one((decoupled / np.asarray(half)).values),
            tolerance=0.02,
            kind="exact",
        ),
        Claim(
            name="from random weights: correlation of log half time with log strength",
            source="Saxe et al. 2014, figure 3 right: strong modes are learned first",
            expected=-0.9,
            measured=float(order),
            kind="statistical",
            relation="<=",
        ),
        reported(
            "from random weights: time of half learning over the formula's, median of modes",
            "Saxe et al. 2014, figure 3 right: near 1, for the weakest modes above it",
            float(delay.median()),
        ),
    ]


def _furthest_from_one(ratios: np.ndarray) -> float:
    known = ratios[np.isfinite(ratios)]
    return float(known[np.argmax(np.abs(known - 1))]) if known.size else float("nan")


def plot(dataset: xr.Dataset) -> Figure:
    """One tree's curves from both starts, and all trees' half times."""
    figure, (exact, random, times) = plt.subplots(1, 3, figsize=(13, 4))
    one = dataset.isel(seed=0)
    for axis, start in ((exact, "decoupled"), (random, "random")):
        for index, mode in enumerate(dataset["mode"].values):
            colour = plt.get_cmap("viridis")(index / (dataset.sizes["mode"] - 1))
            strength = float(one["strength"].sel(mode=mode))
            curves = one.sel(mode=mode)
            axis.plot(curves["time"], curves[start] / strength, color=colour, label=f"mode {mode}")
            axis.plot(curves["time"], curves["predicted"] / strength, **THEORY)
        axis.set_xlabel("time (steps × learning rate)")
        axis.set_ylabel("strength learned u / s (1)")
        axis.set_title(f"{start} weights (dashes: the logistic curve)")
    exact.legend(ncols=2)
    strengths = dataset["strength"].values.ravel()
    line = np.linspace(strengths.min(), strengths.max(), 100, dtype=np.float32)
    half = saxe_half_time(line, dataset.attrs["start"])
    times.plot(line, np.asarray(half), label="(τ/2s) ln(s/u0 − 1)", **THEORY)
    for start, marker in (("decoupled", "o"), ("random", "x")):
        found = _half_times(dataset[start], dataset["strength"]).values.ravel()
        times.plot(strengths, found, marker, alpha=0.7, label=f"{start} weights")
    times.set_xscale("log")
    times.set_yscale("log")
    times.set_xlabel("strength of the mode s (1)")
    times.set_ylabel("time of half learning (steps × learning rate)")
    times.set_title("strong modes first")
    times.legend()
    return figure
