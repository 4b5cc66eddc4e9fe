r"""Which layers saturate, and when: deep networks of sigmoids, tanh and softsign while they learn.

Figure: mean activation of each layer of a sigmoid network during training, at depth 4 and 5; 98th
percentiles of |activation| for tanh and softsign; standard deviations of activations and of
back-propagated gradients at initialisation, standard and normalised. Glorot & Bengio 2010,
AISTATS, PMLR 9:249-256, figures 2, 3, 6 and 7, on images of shapes drawn for every example
(Shapeset-3x2) or on digits, batches of 10.

    python -m experiments run saturation [--data digits]

Time on 2 CPU cores: quick 50 s, paper many hours. Must show: the last layer of sigmoids goes to 0
at once while the others stay above 0.4; tanh layers saturate one after the other, the first one
first; standard weights shrink activations upwards and gradients downwards, normalised ones less.
"""

import dataclasses
import functools
import itertools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array, lax
from matplotlib.figure import Figure

import sigjax
from experiments.datasets import images
from experiments.datasets.images import Batch
from experiments.datasets.shapeset import shapes
from experiments.harness import Claim, Settings, gather, reported, spread, sweep

from ._network import cross_entropy

# Activation and number of hidden layers of the networks that are trained.
TRAINED = (("sigmoid", 4), ("sigmoid", 5), ("tanh", 5), ("softsign", 5))
ACTIVATIONS = {"sigmoid": sigjax.sigmoid, "tanh": jnp.tanh, "softsign": jax.nn.soft_sign}
WEIGHTS = ("standard", "normalized")
# Computed once for N(0, 1) inputs and width 1000 in float64: activations by layer, and the ratio
# of the back-propagated gradient at layer l to that at l + 1.
ACTIVATION_STD = {
    "standard": (0.460, 0.250, 0.141, 0.081, 0.047),
    "normalized": (0.628, 0.487, 0.409, 0.358, 0.322),
}
GRADIENT_RATIO = {
    "standard": (0.470, 0.542, 0.567, 0.574),
    "normalized": (0.679, 0.797, 0.854, 0.885),
}
_OBSERVED = 300  # images whose activations are followed, as in the paper
_BLOCKS = 50
_SATURATED = 0.9  # a tanh layer counts as saturated when its 98th percentile is above this


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Training of the networks, and their size at initialisation."""

    data: Literal["shapes", "digits"] = "shapes"
    """shapes are drawn for every example."""
    width: int = 200
    """Units of a hidden layer in training."""
    steps: int = 8_000
    """Of stochastic gradient descent."""
    batch: int = 10
    """Examples in a step, as in the paper."""
    sigmoid_rate: float = 0.3
    """Learning rate of sigmoid networks; the paper chose by validation."""
    tanh_rate: float = 0.03
    """Learning rate of tanh and softsign networks."""
    initial_width: int = 1000
    """Width of the networks that are looked at before training, the paper's."""
    draws: int = 3
    """Of those networks."""

    @classmethod
    def quick(cls) -> "Config":
        """Width 200, 8,000 steps."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The paper's width of 1000 and 5 million steps."""
        return cls(width=1000, steps=5_000_000, sigmoid_rate=0.1, tanh_rate=0.01)


def start(key: Array, widths: list[int], weights: str) -> list[tuple[Array, Array]]:
    """U[±1/√n] for fan-in n, or U[±√6/√(n + m)] for fan-in n and fan-out m; biases 0."""
    keys = jax.random.split(key, len(widths) - 1)
    found = []
    for k, n, m in zip(keys, widths[:-1], widths[1:], strict=True):
        limit = n**-0.5 if weights == "standard" else (6 / (n + m)) ** 0.5
        found.append((jax.random.uniform(k, (n, m), minval=-limit, maxval=limit), jnp.zeros(m)))
    return found


def forward(parameters: Any, x: Array, activation: Any) -> tuple[Array, list[Array]]:
    """Logits, and the activations of every hidden layer."""
    layers = []
    for weights, biases in parameters[:-1]:
        x = activation(x @ weights + biases)
        layers.append(x)
    weights, biases = parameters[-1]
    return x @ weights + biases, layers


def measure(config: Config, key: Array) -> xr.Dataset:
    """Trains every network, and draws networks for the statistics before training."""
    for_training, for_drawing = jax.random.split(key)
    networks = [{"activation": a, "depth": d} for a, d in TRAINED]
    trained = sweep(networks, functools.partial(_train, config=config, key=for_training))
    initial = [{"weights": name} for name in WEIGHTS]
    drawn = sweep(initial, functools.partial(_draw, config=config, key=for_drawing))
    return gather(networks, trained).merge(gather(initial, drawn), join="outer")


def _train(point: Any, config: Config, key: Array) -> xr.Dataset:
    activation, depth = ACTIVATIONS[point["activation"]], point["depth"]
    rate = config.sigmoid_rate if point["activation"] == "sigmoid" else config.tanh_rate
    for_test, for_weights, for_steps = jax.random.split(key, 3)
    if config.data == "digits":
        everything = images.digits(for_test, 1797)
        observed = Batch(everything.inputs[:_OBSERVED], everything.labels[:_OBSERVED])

        def draw(key: Array) -> Batch:
            chosen = jax.random.randint(key, (config.batch,), _OBSERVED, 1797)
            return Batch(everything.inputs[chosen], everything.labels[chosen])
    else:
        observed = shapes(for_test, _OBSERVED)

        def draw(key: Array) -> Batch:
            return shapes(key, config.batch)

    widths = [observed.inputs.shape[1], *[config.width] * depth, images.CLASSES]
    every = max(1, config.steps // _BLOCKS)

    def loss(parameters: Any, batch: Batch) -> Array:
        return cross_entropy(forward(parameters, batch.inputs, activation)[0], batch.labels)

    def step(parameters: Any, key: Array) -> tuple[Any, None]:
        gradient = jax.grad(loss)(parameters, draw(key))
        return jax.tree.map(lambda p, g: p - rate * g, parameters, gradient), None

    def block(parameters: Any, keys: Array) -> tuple[Any, tuple[Array, Array, Array]]:
        logits, layers = forward(parameters, observed.inputs, activation)
        right = jnp.argmax(logits, -1) == observed.labels
        means = jnp.stack([jnp.mean(h) for h in layers])
        high = jnp.stack([jnp.percentile(jnp.abs(h), 98) for h in layers])
        parameters, _ = lax.scan(step, parameters, keys)
        return parameters, (means, high, jnp.mean(right.astype(jnp.float32)))

    @jax.jit
    def run(key: Array) -> tuple[Array, Array, Array]:
        keys = jax.random.split(for_steps, (_BLOCKS, every))
        return lax.scan(block, start(key, widths, "standard"), keys)[1]

    means, high, accuracy = (np.asarray(x, np.float64) for x in run(for_weights))
    return xr.Dataset(
        {
            "mean": (("step", "layer"), means),
            "percentile": (("step", "layer"), high),
            "accuracy": ("step", accuracy),
        },
        coords={"step": np.arange(_BLOCKS) * every, "layer": np.arange(1, depth + 1)},
    )


def _draw(point: Any, config: Config, key: Array) -> xr.Dataset:
    """tanh on N(0, 1) inputs: standard deviations of what goes up and what comes down."""
    depth, width = 5, config.initial_width

    def one(key: Array) -> tuple[Array, Array, Array]:
        for_weights, for_inputs, for_top = jax.random.split(key, 3)
        parameters = start(for_weights, [width] * (depth + 1), point["weights"])
        x = jax.random.normal(for_inputs, (_OBSERVED, width))
        delta = jax.random.normal(for_top, (_OBSERVED, width))
        signals, layers = [x], []
        for weights, _ in parameters:
            signals.append(jnp.tanh(signals[-1] @ weights))
            layers.append(signals[-1])
        gradients, kernels = [], []
        for below, signal, (weights, _) in zip(
            signals[-2::-1], signals[:0:-1], parameters[::-1], strict=True
        ):
            at_input = (1 - jnp.square(signal)) * delta
            gradients.append(jnp.std(at_input))
            kernels.append(jnp.std(below.T @ at_input))
            delta = at_input @ weights.T
        return (
            jnp.stack([jnp.std(h) for h in layers]),
            jnp.stack(gradients[::-1]),
            jnp.stack(kernels[::-1]),
        )

    drawn = spread(one, jax.random.split(key, config.draws), one_by_one=True)
    up, down, kernels = (np.asarray(part).mean(axis=0, dtype=np.float64) for part in drawn)
    return xr.Dataset(
        {
            "activation_std": ("initial_layer", up.astype(np.float64)),
            "gradient_std": ("initial_layer", down.astype(np.float64)),
            "kernel_gradient_std": ("initial_layer", kernels.astype(np.float64)),
        },
        coords={"initial_layer": np.arange(1, depth + 1)},
    )


def _trained_claims(dataset: xr.Dataset) -> list[Claim]:
    source = "Glorot & Bengio 2010, figure 2"
    found = []
    for depth in (4, 5):
        means = dataset["mean"].sel(activation="sigmoid", depth=depth, layer=slice(1, depth))
        last, others = means.isel(layer=-1), means.isel(layer=slice(None, -1))
        lowest = int(last.argmin("step"))
        found += [
            Claim(
                name=f"sigmoid, {depth} layers: lowest mean activation of the last hidden layer",
                source=source,
                expected=0.1,
                measured=float(last.min()),
                kind="qualitative",
                relation="<=",
            ),
            Claim(
                name=f"sigmoid, {depth} layers: lowest mean of the other layers at that moment",
                source=source,
                expected=0.4,
                measured=float(others.isel(step=lowest).min()),
                kind="qualitative",
                relation=">=",
            ),
            reported(
                f"sigmoid, {depth} layers: mean of the last hidden layer at the end",
                f"{source}: 4 layers escape around epoch 100, 5 never",
                float(last.isel(step=-1)),
            ),
        ]
    high = dataset["percentile"].sel(activation="tanh", depth=5, layer=slice(1, 5))
    onsets = [_onset(high.sel(layer=layer)) for layer in (1, 2, 3, 4, 5)]
    found.append(
        Claim(
            name="tanh, 5 layers: how often a layer saturates before one below it",
            source="Glorot & Bengio 2010, figure 3: layer 1 first, then 2, ...",
            expected=0.0,
            measured=float(sum(b < a for a, b in itertools.pairwise(onsets))),
            kind="qualitative",
        )
    )
    return found


def _onset(curve: xr.DataArray) -> float:
    above = curve >= _SATURATED
    return float(curve["step"][above.argmax("step")]) if bool(above.any()) else float("inf")


def _initial_claims(dataset: xr.Dataset) -> list[Claim]:
    found = []
    for weights in WEIGHTS:
        one = dataset.sel(weights=weights)
        up, down = one["activation_std"].values, one["gradient_std"].values
        quantities = (
            ("activations' std", ACTIVATION_STD, up),
            ("gradient's std over that one layer up", GRADIENT_RATIO, down[:-1] / down[1:]),
        )
        for name, table, values in quantities:
            worst = int(np.argmax(np.abs(values / np.array(table[weights]) - 1)))
            found.append(
                Claim(
                    name=f"tanh, {weights} weights: {name}, worst layer ({worst + 1})",
                    source="Glorot & Bengio 2010, figures 6 and 7, computed for N(0, 1) inputs",
                    expected=table[weights][worst],
                    measured=float(values[worst]),
                    tolerance=0.03,
                    kind="statistical",
                    relative=True,
                )
            )
    kernels = dataset["kernel_gradient_std"].sel(weights="standard").values
    found.append(
        Claim(
            name="tanh, standard weights: weight gradients' std, largest over smallest layer",
            source="Glorot & Bengio 2010, section 4.2.1 and figure 8: about constant",
            expected=1.0,
            measured=float(kernels.max() / kernels.min()),
            tolerance=0.05,
            kind="statistical",
        )
    )
    return found


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The order of events in training, and the numbers before it."""
    return [*_trained_claims(dataset), *_initial_claims(dataset)]


def plot(dataset: xr.Dataset) -> Figure:
    """Figures 2 and 3 over training; 6 and 7 as standard deviations over layers."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8))
    trained = [axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1]]
    for axis, (activation, depth) in zip(trained, TRAINED, strict=True):
        one = dataset.sel(activation=activation, depth=depth, layer=slice(1, depth))
        curves = one["mean"] if activation == "sigmoid" else one["percentile"]
        for index, layer in enumerate(one["layer"].values):
            colour = plt.get_cmap("viridis")(index / depth)
            axis.plot(
                dataset["step"], curves.sel(layer=layer), color=colour, label=f"layer {layer}"
            )
        right = f"right at the end: {100 * float(one['accuracy'].isel(step=-1)):.0f} %"
        axis.set_title(f"{activation}, {depth} hidden layers ({right})")
        name = "mean activation" if activation == "sigmoid" else "98th percentile of |activation|"
        axis.set_ylabel(f"{name} (1)")
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("step of training")
        axis.legend(ncols=2)
    for axis, name, label in (
        (axes[0, 2], "activation_std", "activations"),
        (axes[1, 2], "gradient_std", "back-propagated gradient"),
    ):
        for weights in WEIGHTS:
            values = dataset[name].sel(weights=weights)
            axis.plot(dataset["initial_layer"], values, "o-", label=f"{weights} weights")
        axis.set_yscale("log")
        axis.set_xlabel("layer, from input to output")
        axis.set_ylabel(f"standard deviation of the {label} (1)")
        axis.set_title("tanh before training")
        axis.legend()
    return figure
