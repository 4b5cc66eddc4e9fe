r"""Dynamical isometry: why orthogonal weights and small signals let very deep networks learn fast.

Figure: density of the Jacobian's singular values, predicted and drawn, for Gaussian and orthogonal
tanh networks; variance of the squared singular values over q*; training at depth. Pennington,
Schoenholz & Ganguli 2017, NIPS 30 (arXiv:1711.04735), figures 1 to 4; their training on CIFAR-10
with 200 layers of 400 is done on digits.

    python -m experiments run isometry

Time on 2 CPU cores: quick 35 s, paper 1 h. Must show: variances L (mu_2 / mu_1^2 - 1 - s_1) and
the known edges in drawn networks; orthogonal tanh with small q* learns faster than Gaussian tanh
and than ReLU.
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

from experiments.datasets.images import CLASSES, PIXELS, Batch, digits
from experiments.harness import Claim, Settings, Within, gather, reported, spread, sweep
from sigjax.theory import critical_line, jacobian_density, jacobian_moments

from ._network import cross_entropy

ENSEMBLES = ("orthogonal", "gaussian")
# Variances of the pre-activations whose spectra are drawn: small, so nearly isometric, and not.
DRAWN = (1 / 64, 0.5)
_TRAINED_TEST = 397


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Sizes of drawn and trained networks."""

    width: int = 200
    """Of the drawn networks."""
    depth: int = 50
    """Of the drawn networks."""
    draws: int = 4
    """Networks of each kind."""
    trained_width: int = 100
    """Of the trained networks."""
    trained_depth: Annotated[int, Within(2)] = 50
    """Of the trained networks."""
    q_star: Annotated[float, Within(0, 4, above=True)] = 0.025
    """Variance of the pre-activations of the trained tanh networks."""
    steps: int = 200
    """Of training."""
    batch: Annotated[int, Within(1, 1797 - _TRAINED_TEST)] = 128
    """Digits in a step."""
    learning_rates: tuple[float, ...] = (1e-3, 3e-3)
    """Of gradient descent with momentum 0.9; every network is shown at its best."""

    @classmethod
    def quick(cls) -> "Config":
        """50 layers of 100 and 200."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The paper's 200 layers of 400, and spectra at width 1000."""
        return cls(
            width=1000,
            trained_width=400,
            trained_depth=200,
            steps=5000,
            learning_rates=(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        )


class Kind:
    """A network: its activation, weights, and pre-activation variance."""

    def __init__(self, activation: Any, ensemble: str, weight_std: float, bias_std: float):
        self.activation = activation
        self.ensemble = ensemble
        self.weight_std = weight_std
        self.bias_std = bias_std


def _tanh(ensemble: str, q: float) -> Kind:
    point = critical_line(jnp.tanh, q)
    return Kind(jnp.tanh, ensemble, float(point.weight_std), float(point.bias_std))


def trained_kinds(q: float) -> dict[str, Kind]:
    """What is trained, by the name it has in the figure."""
    return {
        "orthogonal tanh": _tanh("orthogonal", q),
        "Gaussian tanh": _tanh("gaussian", q),
        "Gaussian ReLU": Kind(jax.nn.relu, "gaussian", 2**0.5, 0.0),
        "orthogonal ReLU": Kind(jax.nn.relu, "orthogonal", 2**0.5, 0.0),
    }


def unit_weights(key: Array, ensemble: str, shape: tuple[int, int]) -> Array:
    """Gaussian of variance 1 / fan-in, or orthogonal."""
    if ensemble == "gaussian":
        return jax.random.normal(key, shape) / shape[0] ** 0.5
    return jax.nn.initializers.orthogonal()(key, shape)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Spectra of drawn networks with their predictions, and training curves."""
    for_spectra, for_training = jax.random.split(key)
    spectra = [{"ensemble": e, "q": q} for q in DRAWN for e in ENSEMBLES]
    drawn = sweep(spectra, functools.partial(_spectrum, config=config, key=for_spectra))
    names = [{"network": name} for name in trained_kinds(config.q_star)]
    trained = sweep(names, functools.partial(_train, config=config, key=for_training))
    dataset = gather(spectra, drawn).merge(gather(names, trained), join="outer")
    return dataset.assign(_scan_of_q(config))


def _scan_of_q(config: Config) -> dict[str, Any]:
    q = np.geomspace(1e-3, 4, 40)
    std = critical_line(jnp.tanh, q).weight_std
    found = {}
    for ensemble in ENSEMBLES:
        moments = jacobian_moments(jnp.tanh, std, q, depth=config.depth, ensemble=ensemble)
        found[f"variance_{ensemble}"] = (
            "q_scan",
            np.asarray(moments.relative_variance, np.float64),
            {"q": q.tolist()},
        )
    return found


def _spectrum(point: Any, config: Config, key: Array) -> xr.Dataset:
    kind = _tanh(point["ensemble"], point["q"])
    depth = config.depth
    keys = jax.random.split(key, config.draws)
    scales = jnp.array([point["q"] ** 0.5, kind.weight_std, kind.bias_std], jnp.float32)
    draw = _drawn_spectrum(point["ensemble"], config.width, depth)
    drawn = spread(draw, keys, jnp.tile(scales, (config.draws, 1)), one_by_one=True)
    values = np.asarray(drawn, np.float64)
    squares = values**2
    moments = jacobian_moments(
        jnp.tanh, kind.weight_std, point["q"], depth=depth, ensemble=point["ensemble"]
    )
    top = float(np.sqrt(moments.largest))
    s = np.linspace(0.02 * top, 1.1 * top, 150)
    density = jacobian_density(
        jnp.tanh, kind.weight_std, point["q"], s, depth=depth, ensemble=point["ensemble"]
    )
    counts, edges = np.histogram(values, bins=60, range=(0.0, 1.1 * top))
    width_of_bin = edges[1] - edges[0]
    return xr.Dataset(
        {
            # of each network by itself: their means differ, which is not the spectrum's width
            "drawn_variance": float(np.mean(squares.var(1) / squares.mean(1) ** 2)),
            "predicted_variance": float(moments.relative_variance),
            "drawn_largest": float(squares.max(1).mean()),
            "predicted_largest": float(moments.largest),
            "s": ("point", s),
            "density": ("point", np.asarray(density, np.float64)),
            "bin": ("bar", (edges[:-1] + edges[1:]) / 2),
            "drawn_density": ("bar", counts / values.size / width_of_bin),
        },
        coords={"point": range(150), "bar": range(60)},
    )


@functools.cache
def _drawn_spectrum(ensemble: str, width: int, depth: int) -> Callable[[Array, Array], Array]:
    def draw(key: Array, scales: Array) -> Array:
        """Singular values of the Jacobian of a network on one input of the right variance."""

        root_q, weight_std, bias_std = scales

        def layer(state: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], None]:
            z, product = state
            for_weights, for_biases = jax.random.split(key)
            weights = weight_std * unit_weights(for_weights, ensemble, (width, width))
            # J = prod D_l W_l takes the input as a layer's pre-activation
            product = weights.T @ ((1 - jnp.tanh(z) ** 2)[:, None] * product)
            z = jnp.tanh(z) @ weights + bias_std * jax.random.normal(for_biases, (width,))
            return (z, product), None

        for_input, for_layers = jax.random.split(key)
        z = root_q * jax.random.normal(for_input, (width,))
        start = (z, jnp.eye(width))
        (_, product), _ = lax.scan(layer, start, jax.random.split(for_layers, depth))
        return jnp.linalg.svd(product, compute_uv=False)

    return draw


def _train(point: Any, config: Config, key: Array) -> xr.Dataset:
    """The learning curve of one network at each learning rate."""
    kind = trained_kinds(config.q_star)[point["network"]]
    depth, width = config.trained_depth, config.trained_width
    for_data, for_weights, for_order = jax.random.split(key, 3)
    everything = digits(for_data, 1797)
    train = Batch(everything.inputs[:-_TRAINED_TEST], everything.labels[:-_TRAINED_TEST])
    test = Batch(everything.inputs[-_TRAINED_TEST:], everything.labels[-_TRAINED_TEST:])
    for_input, for_biases, for_out, *keys = jax.random.split(for_weights, depth + 2)
    square = jax.jit(lambda key: kind.weight_std * unit_weights(key, kind.ensemble, (width, width)))
    start = {
        "input": kind.weight_std / PIXELS**0.5 * jax.random.normal(for_input, (PIXELS, width)),
        # one after the other: QR factorisations side by side hang on two cores (jaxlib 0.10.2)
        "hidden": jnp.stack([jax.block_until_ready(square(key)) for key in keys]),
        "bias": kind.bias_std * jax.random.normal(for_biases, (depth - 1, width)),
        "out": jax.random.normal(for_out, (width, CLASSES)) / width**0.5,
    }

    def logits(parameters: dict[str, Array], x: Array) -> Array:
        def layer(h: Array, weights: tuple[Array, Array]) -> tuple[Array, None]:
            return kind.activation(h @ weights[0] + weights[1]), None

        first = kind.activation(x @ parameters["input"])
        last, _ = lax.scan(layer, first, (parameters["hidden"], parameters["bias"]))
        return last @ parameters["out"]

    def run(rate: Array) -> tuple[Array, Array]:
        def step(state: Any, key: Array) -> tuple[Any, Array]:
            parameters, velocity = state
            chosen = jax.random.choice(key, len(train.labels), (config.batch,), replace=False)

            def loss(parameters: dict[str, Array]) -> Array:
                return cross_entropy(logits(parameters, train.inputs[chosen]), train.labels[chosen])

            value, gradient = jax.value_and_grad(loss)(parameters)
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
            parameters = jax.tree.map(lambda p, v: p - rate * v, parameters, velocity)
            return (parameters, velocity), value

        state = start, jax.tree.map(jnp.zeros_like, start)
        (parameters, _), losses = lax.scan(step, state, jax.random.split(for_order, config.steps))
        right = jnp.argmax(logits(parameters, test.inputs), -1) == test.labels
        return losses, jnp.mean(right)

    rates = jnp.array(config.learning_rates, jnp.float32)
    losses, accuracy = spread(run, rates, one_by_one=True)
    return xr.Dataset(
        {
            "loss": (("rate", "step"), np.asarray(losses, np.float64)),
            "accuracy": ("rate", np.asarray(accuracy, np.float64)),
        },
        coords={"rate": list(config.learning_rates), "step": range(config.steps)},
    )


def best_curves(dataset: xr.Dataset) -> xr.DataArray:
    """Each network's loss, smoothed, at the learning rate that brings its mean down most."""
    smooth = dataset["loss"].rolling(step=10, min_periods=1).mean()
    mean = smooth.mean("step", skipna=False)
    best = mean.fillna(np.inf).argmin("rate")
    return smooth.isel(rate=best)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Variances and edges of drawn spectra; the order of the learning curves."""
    found = []
    for q in DRAWN:
        for ensemble in ENSEMBLES:
            one = dataset.sel(q=q, ensemble=ensemble)
            found.append(
                Claim(
                    name=f"{ensemble}, q* = {q:.3g}: variance of the squared singular values",
                    source="Pennington et al. 2017: L (mu_2 / mu_1^2 - 1 - s_1), over mean^2",
                    expected=float(one["predicted_variance"]),
                    measured=float(one["drawn_variance"]),
                    tolerance=0.15,
                    kind="statistical",
                    relative=True,
                )
            )
    orthogonal = dataset.sel(q=DRAWN[0], ensemble="orthogonal")
    found.append(
        Claim(
            name="orthogonal, small q*: largest squared singular value",
            source="upper edge of the product of S-transforms",
            expected=float(orthogonal["predicted_largest"]),
            measured=float(orthogonal["drawn_largest"]),
            tolerance=0.15,
            kind="statistical",
            relative=True,
        )
    )
    curves = best_curves(dataset).mean("step")
    for other in ("Gaussian tanh", "Gaussian ReLU"):
        found.append(
            Claim(
                name=f"mean loss over training, {other} less orthogonal tanh, at their best rates",
                source="Pennington et al. 2017, figures 3 and 4: orthogonal tanh learns faster",
                expected=0.0,
                measured=float(curves.sel(network=other) - curves.sel(network="orthogonal tanh")),
                kind="qualitative",
                relation=">=",
            )
        )
    for name in dataset["network"].values:
        accuracy = float(dataset["accuracy"].sel(network=name).max())
        what = f"{name}: accuracy on digits not trained on, best rate"
        found.append(reported(what, "for information", accuracy))
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Spectra, their variance over q*, and learning curves."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8))
    spectra = [axes[0, 0], axes[0, 1], axes[1, 0], axes[1, 1]]
    cells = [(q, ensemble) for q in DRAWN for ensemble in ENSEMBLES]
    for axis, (q, ensemble) in zip(spectra, cells, strict=True):
        one = dataset.sel(q=q, ensemble=ensemble)
        step = float(one["bin"][1] - one["bin"][0])
        axis.bar(one["bin"], one["drawn_density"], width=step, color="0.8", label="drawn")
        axis.plot(one["s"], one["density"], color="C1", label="theory")
        axis.axvline(float(one["predicted_largest"]) ** 0.5, color="0.4", linestyle=":")
        # near 0 the density of a broad spectrum diverges; what matters is its reach
        axis.set_ylim(
            0, 1.3 * float(np.nanmax(one["density"].where(one["s"] > 0.1 * one["s"][-1])))
        )
        axis.set_xlabel("singular value of the Jacobian (1)")
        axis.set_ylabel("density (1)")
        axis.set_title(f"{ensemble} weights, q* = {q:.3g}")
        axis.legend()
    scan, training = axes[0, 2], axes[1, 2]
    for ensemble in ENSEMBLES:
        variance = dataset[f"variance_{ensemble}"]
        scan.plot(variance.attrs["q"], variance, label=f"{ensemble}, theory")
        drawn = dataset["drawn_variance"].sel(ensemble=ensemble)
        scan.plot(drawn["q"], drawn, "o", color=scan.lines[-1].get_color())
    scan.set_xscale("log")
    scan.set_yscale("log")
    scan.set_xlabel("variance of the pre-activations q* (1)")
    scan.set_ylabel("relative variance of squared singular values (1)")
    scan.set_title("only orthogonal weights get there (dots: drawn)")
    scan.legend()
    curves = best_curves(dataset)
    for name in dataset["network"].values:
        rate = float(curves.sel(network=name)["rate"])
        training.plot(dataset["step"], curves.sel(network=name), label=f"{name}, rate {rate:g}")
    training.set_xlabel("step of training")
    training.set_ylabel("cross-entropy (nats)")
    training.set_title("deep networks on digits, each at its best rate")
    training.legend()
    return figure
