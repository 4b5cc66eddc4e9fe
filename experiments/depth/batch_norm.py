r"""Batch normalisation keeps sigmoids out of their flat parts.

Figure: accuracy over training of three layers of 100 sigmoids with and without batch
normalisation; the 15th, 50th and 85th percentiles of one unit's inputs in the last hidden layer,
without and with. Ioffe & Szegedy 2015, ICML, PMLR 37:448-456, section 4.1 and figure 1: binary
MNIST, batches of 60; learning rate and the weights' standard deviation are not given there.

    python -m experiments run batch_norm [--data mnist]

Time on 2 CPU cores: quick 10 s, paper 5 min. Must show: with normalisation every level of accuracy
is reached sooner and the percentiles drift less; the slope of the sigmoid at 4 is 14.15 times
smaller than at 0. `--data mnist` fetches MNIST from OpenML; digits come with scikit-learn.
"""

import dataclasses
import functools
import itertools
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array, lax
from matplotlib.figure import Figure

import sigjax
from experiments.datasets.images import CLASSES, Batch, binary_images
from experiments.harness import Claim, Settings, Within

from ._network import cross_entropy
from ._normalization import batch_norm

LAYERS, WIDTH = 3, 100
PERCENTILES = (15, 50, 85)
NETWORKS = ("without", "with")
_LEVELS = (0.5, 0.8, 0.9)  # of accuracy, that one network reaches before the other
_POINTS = 200  # of the curves


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Training of the two networks."""

    data: Literal["digits", "mnist"] = "digits"
    """What is learned; mnist needs a network connection."""
    steps: Annotated[int, Within(2)] = 6000
    """Steps of stochastic gradient descent."""
    batch: Annotated[int, Within(2)] = 60
    """Images in a step; the paper's 60."""
    learning_rate: Annotated[float, Within(0, above=True)] = 0.1
    """Learning rate; not given in the paper."""
    weight_std: float = 0.1
    """Standard deviation of the Gaussian weights at the start; not given in the paper."""

    @classmethod
    def quick(cls) -> "Config":
        """6,000 steps on digits."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The paper's 50,000 steps; add --data mnist."""
        return cls(steps=50_000)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Trains both networks from the same weights on the same batches."""
    for_data, for_weights, for_order = jax.random.split(key, 3)
    train, test = binary_images(config.data, for_data)
    every = max(1, config.steps // _POINTS)

    def run(normalized: Array) -> tuple[Array, Array]:
        def loss(parameters: Any, batch: Batch) -> Array:
            return cross_entropy(_logits(parameters, batch.inputs, normalized)[0], batch.labels)

        def step(parameters: Any, key: Array) -> tuple[Any, None]:
            chosen = jax.random.randint(key, (config.batch,), 0, len(train.labels))
            gradient = jax.grad(loss)(parameters, Batch(train.inputs[chosen], train.labels[chosen]))
            return jax.tree.map(
                lambda p, g: p - config.learning_rate * g, parameters, gradient
            ), None

        def block(parameters: Any, keys: Array) -> tuple[Any, tuple[Array, Array]]:
            parameters, _ = lax.scan(step, parameters, keys)
            # With the statistics of the whole test set, as the paper's are of the population.
            logits, inputs = _logits(parameters, test.inputs, normalized)
            right = jnp.mean((jnp.argmax(logits, -1) == test.labels).astype(jnp.float32))
            return parameters, (right, jnp.percentile(inputs, jnp.array(PERCENTILES), axis=0))

        start = _start(for_weights, train.inputs.shape[1], config.weight_std)
        keys = jax.random.split(for_order, (config.steps // every, every))
        return lax.scan(block, start, keys)[1]

    # One after the other by one program, whose compilation takes longer than a run.
    runs = jax.jit(functools.partial(lax.map, run))
    accuracy, percentiles = runs(np.array([network == "with" for network in NETWORKS]))
    dataset = xr.Dataset(
        {
            "accuracy": (("network", "step"), np.asarray(accuracy)),
            "percentiles": (("network", "step", "percentile", "unit"), np.asarray(percentiles)),
        },
        coords={
            "network": list(NETWORKS),
            "step": (np.arange(config.steps // every) + 1) * every,
            "percentile": list(PERCENTILES),
            "unit": range(WIDTH),
        },
    ).astype(np.float64)
    slopes = sigjax.sigmoid_derivative(np.array([0.0, 4.0], np.float32))
    dataset.attrs["slope_ratio"] = float(slopes[0] / slopes[1])
    return dataset


def _start(key: Array, inputs: int, std: float) -> dict[str, list[Array]]:
    widths = [inputs, *[WIDTH] * LAYERS, CLASSES]
    shapes = list(itertools.pairwise(widths))
    keys = jax.random.split(key, len(shapes))
    return {
        "weights": [std * jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)],
        "offsets": [jnp.zeros(width) for width in widths[1:]],
        "gains": [jnp.ones(width) for width in widths[1:-1]],
    }


def _logits(parameters: Any, x: Array, normalized: Array) -> tuple[Array, Array]:
    """Logits, and the inputs of the last layer of sigmoids."""
    weights, offsets, gains = (parameters[name] for name in ("weights", "offsets", "gains"))
    z = x
    for layer in range(LAYERS):
        z = x @ weights[layer]
        z = jnp.where(normalized, gains[layer] * batch_norm(z), z)
        z = z + offsets[layer]
        x = sigjax.sigmoid(z)
    return x @ weights[-1] + offsets[-1], z


def first_step(dataset: xr.Dataset, network: str, level: float) -> float:
    """The step at which a network first has an accuracy; infinity if it never has."""
    reached = dataset["accuracy"].sel(network=network) >= level
    return float(dataset["step"][reached.argmax("step")]) if bool(reached.any()) else float("inf")


def drift(dataset: xr.Dataset, network: str) -> float:
    """How far medians move over training, in units of the inputs' spread; mean of units."""
    curves = dataset["percentiles"].sel(network=network)
    spread = (curves.sel(percentile=85) - curves.sel(percentile=15)).mean("step") / 2
    return float((curves.sel(percentile=50).std("step") / spread).mean())


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The order of events of figure 1, and the slopes' ratio."""
    source = "Ioffe & Szegedy 2015, figure 1"
    found = [
        Claim(
            name="slope of the sigmoid at 0 over that at 4",
            source="closed form: 0.25 / 0.0176627",
            expected=14.15412,
            measured=dataset.attrs["slope_ratio"],
            tolerance=1e-4,
            kind="exact",
        )
    ]
    for level in _LEVELS:
        sooner = first_step(dataset, "with", level)
        later = first_step(dataset, "without", level)
        found.append(
            Claim(
                name=f"accuracy {level:g}: steps with normalisation over steps without",
                source=source,
                expected=1.0,
                measured=sooner / later if np.isfinite(sooner) else float("nan"),
                kind="qualitative",
                relation="<=",
            )
        )
    last = dataset["accuracy"].isel(step=slice(-10, None)).mean("step")
    found += [
        Claim(
            name="accuracy at the end, with normalisation less without",
            source=source,
            expected=0.0,
            measured=float(last.sel(network="with") - last.sel(network="without")),
            tolerance=0.005,
            kind="qualitative",
            relation=">=",
        ),
        Claim(
            name="drift of the last hidden layer's inputs, with normalisation over without",
            source=source,
            expected=1.0,
            measured=drift(dataset, "with") / drift(dataset, "without"),
            kind="qualitative",
            relation="<=",
        ),
    ]
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """The three panels of figure 1."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    for network in NETWORKS:
        axes[0].plot(
            dataset["step"], dataset["accuracy"].sel(network=network), label=f"{network} norm"
        )
    axes[0].set_ylabel("accuracy on images not trained on (1)")
    axes[0].set_title("learning")
    axes[0].legend()
    # The unit whose inputs drift most without normalisation shows best what is meant.
    curves = dataset["percentiles"].sel(percentile=50, network="without")
    unit = int(curves.std("step").argmax("unit"))
    for axis, network in zip(axes[1:], NETWORKS, strict=True):
        one = dataset["percentiles"].sel(network=network, unit=unit)
        for percentile in reversed(PERCENTILES):
            axis.plot(dataset["step"], one.sel(percentile=percentile), label=f"{percentile} %")
        axis.axhspan(-4, 4, color="0.5", alpha=0.08)
        axis.set_ylabel("input of a sigmoid in layer 3 (1)")
        axis.set_title(f"{network} normalisation (grey: slope above 1/57)")
        axis.legend(title="percentile")
    for axis in axes:
        axis.set_xlabel("step of training")
    low = min(axis.get_ylim()[0] for axis in axes[1:])
    high = max(axis.get_ylim()[1] for axis in axes[1:])
    for axis in axes[1:]:
        axis.set_ylim(low, high)
    return figure
