r"""How deep a signal and a gradient can go: the edge of chaos, for tanh and for the logistic.

Figure: the phase diagram of tanh (chi_1, with the critical line) and of the logistic; depth scales
over the weight variance, predicted and measured in networks that are drawn; accuracy of trained
networks over depth and weight variance, with 6 xi_c. Poole et al. 2016, NIPS 29, figures 1 and 2;
Schoenholz et al. 2017, ICLR (arXiv:1611.01232), figures 2, 4 and 5 (bias variance 0.05).

    python -m experiments run mean_field

Time on 2 CPU cores: quick 25 s, paper 1 h. Must show: chi_1 = 1 at weight variance 1.76096 for
tanh; drawn networks keep to the theory; deep ones train near the edge and nowhere else; the
logistic has no edge below sigma_w = 10.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array, lax
from matplotlib.figure import Figure

import sigjax
from experiments.datasets.images import CLASSES, PIXELS, Batch, digits
from experiments.harness import Claim, Settings, Within, gather, spread, sweep
from sigjax.probe import normalized
from sigjax.theory import critical_weight_std, mean_field

from ._network import cross_entropy

BIAS_VARIANCE = 0.05
# Weight variances whose constants are tabulated for tanh at this bias variance.
TABULATED = (1.0, 1.5, 1.7, 2.0, 4.0)
# With the largest weight std of the phase diagram.
ACTIVATIONS = {"tanh": (jnp.tanh, 5.0), "logistic": (sigjax.sigmoid, 20.0)}
_CORRELATION = 0.5  # of the two inputs that are followed
# Layers next to the input have not reached the fixed point.
_TRAINED = 1400  # digits, of 1,797
_EDGE = 5


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Sizes of the diagram, of the drawn and of the trained networks."""

    grid: Annotated[int, Within(2)] = 50
    """Points along each side of the phase diagram."""
    width: int = 300
    """Of the drawn networks."""
    depth: Annotated[int, Within(_EDGE + 3)] = 40
    """Of the drawn networks."""
    draws: int = 8
    """Networks drawn for each weight variance."""
    trained_width: int = 100
    """Of the trained networks."""
    depths: tuple[int, ...] = (10, 25, 50)
    """Of the trained networks."""
    weight_variances: tuple[float, ...] = (1.0, 1.3, 1.76, 2.5, 4.0)
    """Of the trained networks."""
    steps: int = 150
    """Of gradient descent."""
    batch: Annotated[int, Within(1, _TRAINED)] = 128
    """Digits in a step."""
    learning_rate: float = 1e-3
    """Of gradient descent with momentum 0.9."""

    @classmethod
    def quick(cls) -> "Config":
        """Up to 50 layers of 100, 150 steps."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Up to 300 layers of 300 over the paper's range of weight variances."""
        return cls(
            grid=100,
            width=1000,
            depth=100,
            draws=16,
            trained_width=300,
            depths=tuple(range(10, 301, 10)),
            weight_variances=tuple(np.linspace(1, 4, 30).round(4).tolist()),
            steps=2000,
        )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Theory over a grid, networks drawn at a few points of it, and networks trained."""
    for_draws, for_training = jax.random.split(key)
    drawn = [{"weight_variance": value} for value in TABULATED]
    measured = sweep(drawn, functools.partial(_draw, config=config, key=for_draws))
    trained = [{"depth": depth} for depth in config.depths]
    accuracies = sweep(trained, functools.partial(_train, config=config, key=for_training))
    dataset = _theory(config).merge(gather(drawn, measured), join="outer")
    dataset = dataset.merge(gather(trained, accuracies), join="outer")
    dataset["accuracy"].attrs = {"long_name": "accuracy on digits not trained on", "units": "1"}
    return dataset


def _theory(config: Config) -> xr.Dataset:
    bias_std = np.linspace(0, 4, config.grid)
    line = np.linspace(1, 4, 200)
    dataset = xr.Dataset(coords={"bias_std": bias_std})
    for name, (activation, widest) in ACTIVATIONS.items():
        weight_std = np.linspace(0.5, widest, config.grid)
        found = mean_field(activation, weight_std[:, None], bias_std[None, :])
        dims = (f"weight_std_{name}", "bias_std")
        dataset = dataset.assign_coords({dims[0]: weight_std})
        dataset[f"chi1_{name}"] = dims, np.asarray(found.chi1, np.float64)
    along = mean_field(jnp.tanh, np.sqrt(line), BIAS_VARIANCE**0.5)
    for field in ("xi_c", "xi_gradient", "chi1"):
        values = np.asarray(getattr(along, field), np.float64)
        dataset[f"line_{field}"] = ("line_weight_variance", values)
    dataset = dataset.assign_coords(line_weight_variance=line)
    critical = critical_weight_std(jnp.tanh, BIAS_VARIANCE**0.5)
    dataset.attrs["critical_weight_variance"] = float(critical) ** 2
    dataset.attrs["critical_weight_std_logistic"] = float(critical_weight_std(sigjax.sigmoid))
    return dataset


def _draw(point: Any, config: Config, key: Array) -> xr.Dataset:
    """Variance, correlation of two inputs, and gradient factor, layer by layer."""
    keys = jax.random.split(key, config.draws)
    weight_stds = jnp.full(config.draws, point["weight_variance"] ** 0.5)
    network = _drawn_network(config.width, config.depth)
    q, c, growth = spread(network, keys, weight_stds, one_by_one=True)
    inner = growth[:, _EDGE:-1]
    return xr.Dataset(
        {
            "drawn_q": ("layer", np.asarray(q).mean(axis=0, dtype=np.float64)),
            "drawn_c": ("layer", np.asarray(c).mean(axis=0, dtype=np.float64)),
            "drawn_rate": float(np.sqrt(np.mean(np.square(inner)))),
        },
        coords={"layer": np.arange(1, config.depth + 1)},
    )


@functools.cache
def _drawn_network(width: int, depth: int) -> Callable[[Array, Array], tuple[Array, Array, Array]]:
    bias_std = BIAS_VARIANCE**0.5

    def network(key: Array, weight_std: Array) -> tuple[Array, Array, Array]:
        for_inputs, for_layers, for_top = jax.random.split(key, 3)
        first, other = jax.random.normal(for_inputs, (2, width))
        mixed = _CORRELATION * first + (1 - _CORRELATION**2) ** 0.5 * other

        def layer(h: Array, key: Array) -> tuple[Array, tuple[Array, Array, Array]]:
            for_weights, for_biases = jax.random.split(key)
            weights = weight_std / width**0.5 * jax.random.normal(for_weights, (width, width))
            z = h @ weights + bias_std * jax.random.normal(for_biases, (width,))
            q = jnp.mean(jnp.square(z), -1)
            c = jnp.mean(z[0] * z[1]) / jnp.sqrt(q[0] * q[1])
            return jnp.tanh(z), (jnp.mean(q), c, z[0])

        _, (q, c, z) = lax.scan(
            layer, jnp.stack([first, mixed]), jax.random.split(for_layers, depth)
        )

        def back(delta: Array, layer: tuple[Array, Array]) -> tuple[Array, Array]:
            key, z = layer
            weights = (
                weight_std
                / width**0.5
                * jax.random.normal(jax.random.split(key)[0], (width, width))
            )
            lower = (1 - jnp.tanh(z) ** 2) * (weights @ delta)
            growth = jnp.linalg.norm(lower) / jnp.linalg.norm(delta)
            return normalized(lower).mantissa, growth

        keys = jax.random.split(for_layers, depth)
        top = jax.random.normal(for_top, (width,))
        _, growth = lax.scan(back, top, (keys[1:], z[:-1]), reverse=True)
        return q, c, growth

    return network


def _train(point: Any, config: Config, key: Array) -> xr.Dataset:
    """Networks of one depth, one for each weight variance, on the same digits."""
    depth, width = point["depth"], config.trained_width
    for_data, for_weights, for_order = jax.random.split(key, 3)
    everything = digits(for_data, 1797)
    train = Batch(everything.inputs[:_TRAINED], everything.labels[:_TRAINED])
    test = Batch(everything.inputs[_TRAINED:], everything.labels[_TRAINED:])
    bias_std = BIAS_VARIANCE**0.5

    def start(variance: Array, key: Array) -> dict[str, Array]:
        keys = jax.random.split(key, 5)
        std = jnp.sqrt(variance)
        return {
            "input": std / PIXELS**0.5 * jax.random.normal(keys[0], (PIXELS, width)),
            "hidden": std / width**0.5 * jax.random.normal(keys[1], (depth - 1, width, width)),
            "bias": bias_std * jax.random.normal(keys[2], (depth - 1, width)),
            "first": bias_std * jax.random.normal(keys[3], (width,)),
            "out": jax.random.normal(keys[4], (width, CLASSES)) / width**0.5,
        }

    def logits(parameters: dict[str, Array], x: Array) -> Array:
        def layer(h: Array, weights: tuple[Array, Array]) -> tuple[Array, None]:
            return jnp.tanh(h @ weights[0] + weights[1]), None

        first = jnp.tanh(x @ parameters["input"] + parameters["first"])
        last, _ = lax.scan(layer, first, (parameters["hidden"], parameters["bias"]))
        return last @ parameters["out"]

    def run(variance: Array) -> Array:
        def step(state: Any, key: Array) -> tuple[Any, None]:
            parameters, velocity = state
            chosen = jax.random.choice(key, len(train.labels), (config.batch,), replace=False)

            def loss(parameters: dict[str, Array]) -> Array:
                return cross_entropy(logits(parameters, train.inputs[chosen]), train.labels[chosen])

            gradient = jax.grad(loss)(parameters)
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            parameters = jax.tree.map(
                lambda p, v: p - config.learning_rate * v, parameters, velocity
            )
            return (parameters, velocity), None

        parameters = start(variance, for_weights)
        state = parameters, jax.tree.map(jnp.zeros_like, parameters)
        (parameters, _), _ = lax.scan(step, state, jax.random.split(for_order, config.steps))
        return jnp.mean(jnp.argmax(logits(parameters, test.inputs), -1) == test.labels)

    variances = jnp.array(config.weight_variances, jnp.float32)
    accuracy = spread(run, variances, one_by_one=True)
    return xr.Dataset(
        {"accuracy": ("trained_weight_variance", np.asarray(accuracy, np.float64))},
        coords={"trained_weight_variance": list(config.weight_variances)},
    )


def _exact_claims(dataset: xr.Dataset) -> list[Claim]:
    return [
        Claim(
            name="tanh, bias variance 0.05: critical weight variance",
            source="Schoenholz et al. 2017; this project's quadrature",
            expected=1.760955,
            measured=dataset.attrs["critical_weight_variance"],
            tolerance=1e-4,
            kind="exact",
        ),
        Claim(
            name="logistic without biases: least weight std that is critical",
            source="derived: chi_1 tends to sigma_w / (6 sqrt(pi)), 1 at 10.63",
            expected=10.15,
            measured=dataset.attrs["critical_weight_std_logistic"],
            tolerance=0.01,
            kind="exact",
        ),
    ]


def _drawn_claims(dataset: xr.Dataset) -> list[Claim]:
    found = []
    for variance in TABULATED:
        theory = mean_field(jnp.tanh, variance**0.5, BIAS_VARIANCE**0.5)
        one = dataset.sel(weight_variance=variance)
        settled = slice(-10, None)
        measured_rate = float(one["drawn_rate"])
        found += [
            Claim(
                name=f"weight variance {variance}: variance of drawn pre-activations",
                source="Poole et al. 2016, q*",
                expected=float(theory.q),
                measured=float(one["drawn_q"].isel(layer=settled).mean()),
                tolerance=0.05,
                kind="statistical",
                relative=True,
            ),
            Claim(
                name=f"weight variance {variance}: log of the gradient's growth a layer",
                source="Schoenholz et al. 2017, log(chi_1) / 2; 10 % of the depth scale",
                expected=float(jnp.log(theory.chi1)) / 2,
                measured=float(np.log(measured_rate)),
                # near criticality the scale diverges, and width sets how near one can come
                tolerance=max(0.1 * abs(float(jnp.log(theory.chi1)) / 2), 0.01),
                kind="statistical",
            ),
        ]
    return found


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Constants, drawn networks, and where deep ones can be trained."""
    accuracy = dataset["accuracy"]
    deepest = accuracy.sel(depth=accuracy["depth"].max())
    variances = deepest["trained_weight_variance"]
    best = float(variances[int(deepest.argmax("trained_weight_variance"))])
    depth = int(accuracy["depth"].max())
    return [
        *_exact_claims(dataset),
        *_drawn_claims(dataset),
        Claim(
            name=f"depth {depth}: best weight variance over the critical one",
            source="Schoenholz et al. 2017, figure 5: trainable near the edge of chaos",
            expected=1.0,
            measured=best / dataset.attrs["critical_weight_variance"],
            tolerance=0.3,
            kind="qualitative",
        ),
        Claim(
            name=f"depth {depth}: accuracy far in the ordered phase (weight variance 1)",
            source="Schoenholz et al. 2017, figure 5: 6 xi_c is 22 layers there",
            expected=0.3,
            measured=float(deepest.sel(trained_weight_variance=1.0, method="nearest")),
            kind="qualitative",
            relation="<=",
        ),
        Claim(
            name=f"depth {depth}: best accuracy less that at weight variance 1",
            source="Schoenholz et al. 2017, figure 5",
            expected=0.3,
            measured=float(
                deepest.max() - deepest.sel(trained_weight_variance=1.0, method="nearest")
            ),
            kind="qualitative",
            relation=">=",
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Phase diagrams, depth scales, and what could be trained."""
    figure, axes = plt.subplots(2, 2, figsize=(12, 9))
    for axis, name in zip(axes[0], ACTIVATIONS, strict=True):
        _phase(figure, axis, dataset, name)
    scales, trained = axes[1]
    line = dataset["line_weight_variance"]
    scales.plot(line, dataset["line_xi_c"], label="ξ_c, theory")
    scales.plot(line, dataset["line_xi_gradient"], label="ξ of the squared gradient, theory")
    measured = 1 / np.abs(2 * np.log(dataset["drawn_rate"]))
    scales.plot(
        dataset["weight_variance"], measured, "o", color="C1", label="gradients of drawn networks"
    )
    scales.axvline(dataset.attrs["critical_weight_variance"], color="0.5", linestyle=":")
    scales.set_yscale("log")
    scales.set_ylim(1, 1e3)
    scales.set_xlabel("weight variance σ_w² (1)")
    scales.set_ylabel("depth scale (layers)")
    scales.set_title("tanh, σ_b² = 0.05: scales diverge at the edge of chaos")
    scales.legend()
    _trained(figure, trained, dataset)
    return figure


def _phase(figure: Figure, axis: Any, dataset: xr.Dataset, name: str) -> None:
    weights = f"weight_std_{name}"
    chi1 = dataset[f"chi1_{name}"].transpose("bias_std", weights)
    image = axis.pcolormesh(
        chi1[weights], chi1["bias_std"], np.log2(chi1), cmap="RdBu_r", vmin=-1, vmax=1
    )
    axis.contour(chi1[weights], chi1["bias_std"], chi1, [1.0], colors="black")
    axis.set_title(f"{name}: ordered (blue), chaotic (red), critical line")
    axis.set_xlabel("weight std σ_w (1)")
    axis.set_ylabel("bias std σ_b (1)")
    figure.colorbar(image, ax=axis, label="log2 χ₁ (1)", extend="both")


def _trained(figure: Figure, axis: Any, dataset: xr.Dataset) -> None:
    accuracy = dataset["accuracy"].transpose("depth", "trained_weight_variance")
    columns = np.arange(accuracy.sizes["trained_weight_variance"])
    image = axis.pcolormesh(
        columns, np.arange(accuracy.sizes["depth"]), accuracy, cmap="viridis", vmin=0, vmax=1
    )
    variances = accuracy["trained_weight_variance"].values
    reach = 6 * np.interp(variances, dataset["line_weight_variance"], dataset["line_xi_c"])
    depths = accuracy["depth"].values
    # The rows are depths of unequal steps: the line is drawn between them.
    axis.plot(
        columns,
        np.interp(np.log(reach), np.log(depths), np.arange(len(depths)), right=len(depths) - 0.5),
        color="white",
        linewidth=2,
        label="6 ξ_c",
    )
    axis.set_xticks(columns, [f"{value:g}" for value in variances], rotation=90)
    axis.set_yticks(np.arange(len(depths)), [str(depth) for depth in depths])
    axis.set_xlabel("weight variance σ_w² (1)")
    axis.set_ylabel("depth (layers)")
    axis.set_title("accuracy after training")
    axis.legend(labelcolor="white")
    figure.colorbar(image, ax=axis, label="accuracy on digits not trained on (1)")
