r"""One function with two regimes, learned by two lines and a gate between them.

Figure: the learned blend over the function, the gate over the true regime, and the gate's share
of right decisions over training. The article: $y = g\,W_1 x + (1-g)\,W_2 x$ with a sigmoid $g$
switches softly between two models (Jacobs, Jordan, Nowlan & Hinton 1991, Neural Computation
3:79-87).

    python -m experiments run soft_switch

Time on 2 CPU cores: quick 3 s, paper 8 s. Must show: the gate tells the regimes apart on new
points, and the blend's error is a small part of what the best single line leaves.
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import xarray as xr
from flax import nnx
from jax import Array
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, Within, over_devices, reported
from sigjax.nn import SoftSwitch

# Slope and intercept below and above the switching point.
POINT = 0.5
BELOW, ABOVE = (2.0, -1.0), (-1.0, 3.0)
NOISE = 0.1
_REACH = 3.0  # inputs are uniform on [-reach, reach]
_TESTED = 1001


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Training of one layer."""

    examples: Annotated[int, Within(2)] = 256
    """Noisy examples that the switch is fitted to."""
    steps: int = 3000
    """Steps of Adam, each over all examples."""
    learning_rate: float = 0.1
    """Adam's learning rate."""
    seeds: int = 8
    """Independent data and first weights."""

    @classmethod
    def quick(cls) -> "Config":
        """8 seeds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """64 seeds, 10,000 steps."""
        return cls(steps=10_000, seeds=64)


def regime(x: Array) -> Array:
    """Whether the upper line holds."""
    return x > POINT


def truth(x: Array) -> Array:
    """The function without noise."""
    below, above = (slope * x + intercept for slope, intercept in (BELOW, ABOVE))
    return jnp.where(regime(x), above, below)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Trains every seed on data of its own."""
    grid = jnp.linspace(-_REACH, _REACH, _TESTED)
    optimizer = optax.adam(config.learning_rate)
    models = [SoftSwitch(1, 1, rngs=nnx.Rngs(seed)) for seed in range(config.seeds)]
    graph, _ = nnx.split(models[0])
    parameters = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(nnx.split(model)[1] for model in models)
    )

    def apply(parameters, x: Array) -> tuple[Array, Array]:
        blend, gate = nnx.merge(graph, parameters)(x[:, None], return_gates=True)
        return blend[:, 0], gate[:, 0]

    def run(parameters, key: Array):
        for_inputs, for_noise = jax.random.split(key)
        x = jax.random.uniform(for_inputs, (config.examples,), minval=-_REACH, maxval=_REACH)
        y = truth(x) + NOISE * jax.random.normal(for_noise, x.shape)

        def loss(parameters):
            return jnp.mean(jnp.square(apply(parameters, x)[0] - y))

        def advance(state, _):
            parameters, moments = state
            right = _agreement(apply(parameters, grid)[1], grid)
            value, gradient = jax.value_and_grad(loss)(parameters)
            updates, moments = optimizer.update(gradient, moments, parameters)
            return (optax.apply_updates(parameters, updates), moments), (value, right)

        state = parameters, optimizer.init(parameters)
        (parameters, _), (losses, right) = jax.lax.scan(advance, state, None, length=config.steps)
        blend, gate = apply(parameters, grid)
        line: Any = jnp.polyfit(x, y, 1)
        return losses, right, blend, gate, jnp.polyval(line, grid)

    losses, right, blend, gate, line = over_devices(
        run, parameters, jax.random.split(key, config.seeds)
    )
    dataset = xr.Dataset(
        {
            "loss": (("seed", "step"), np.asarray(losses, np.float64)),
            "right": (("seed", "step"), np.asarray(right, np.float64)),
            "blend": (("seed", "x"), np.asarray(blend, np.float64)),
            "gate": (("seed", "x"), np.asarray(gate, np.float64)),
            "line": (("seed", "x"), np.asarray(line, np.float64)),
            "truth": ("x", np.asarray(truth(grid), np.float64)),
            "regime": ("x", np.asarray(regime(grid), np.float64)),
        },
        coords={
            "seed": range(config.seeds),
            "step": range(config.steps),
            "x": np.asarray(grid, np.float64),
        },
    )
    dataset["gate"].attrs = {"long_name": "gate", "units": "1"}
    return dataset


def _agreement(gate: Array, x: Array) -> Array:
    """Share of points that the gate puts with their own regime; which side is on is arbitrary."""
    same = jnp.mean((gate > 0.5) == regime(x))
    return jnp.maximum(same, 1 - same)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Over seeds: medians, since a switch can start dead."""
    last = dataset.isel(step=-1)
    error = ((dataset["blend"] - dataset["truth"]) ** 2).mean("x")
    alone = ((dataset["line"] - dataset["truth"]) ** 2).mean("x")
    return [
        Claim(
            name="share of new points whose regime the gate knows, median of seeds",
            source="the article: the gate learns when to switch",
            expected=0.98,
            measured=float(last["right"].median()),
            kind="statistical",
            relation=">=",
        ),
        Claim(
            name="squared error of the blend over the best single line's, median of seeds",
            source="the article: two models blended fit what one cannot",
            expected=0.04,
            measured=float((error / alone).median()),
            kind="statistical",
            relation="<=",
        ),
        reported(
            "share of new points whose regime the gate knows, worst seed",
            "for information",
            float(last["right"].min()),
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """The seed with the median loss, then all seeds."""
    figure, (blend, gate, right) = plt.subplots(1, 3, figsize=(13, 4))
    final = dataset["loss"].isel(step=-1).values
    middle = dataset.isel(seed=int(np.argsort(final)[len(final) // 2]))
    x = dataset["x"]
    blend.plot(x, dataset["truth"], color="0.5", linewidth=4, alpha=0.5, label="truth")
    blend.plot(x, middle["blend"], label="learned blend")
    blend.plot(x, middle["line"], "--", label="best single line")
    blend.set_ylabel("output y (1)")
    blend.set_title("two regimes, one differentiable function")
    blend.legend()
    gate.fill_between(x, 0, dataset["regime"], color="0.9", label="true regime")
    for seed in dataset["seed"].values:
        one = dataset["gate"].sel(seed=seed)
        swapped = float(one[-1]) < float(one[0])
        label = "gates of all seeds" if seed == 0 else None
        gate.plot(x, 1 - one if swapped else one, color="C0", alpha=0.6, label=label)
    gate.set_ylabel("gate g (1)")
    gate.set_title("the gate finds the regimes\n(which side is on is arbitrary: turned alike)")
    gate.legend(loc="upper left")
    for axis in (blend, gate):
        axis.set_xlabel("input x (1)")
    right.plot(dataset["step"], dataset["right"].median("seed"), label="median of seeds")
    right.fill_between(
        dataset["step"],
        dataset["right"].min("seed"),
        dataset["right"].max("seed"),
        alpha=0.2,
        label="range of seeds",
    )
    right.set_ylim(0.45, 1.02)
    right.set_xlabel("step of training")
    right.set_ylabel("share of points in their own regime (1)")
    right.set_title("learning to switch")
    right.legend(loc="lower right")
    return figure
