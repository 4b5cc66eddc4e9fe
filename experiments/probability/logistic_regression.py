r"""A sigmoid neuron is logistic regression: its weights are log-odds, whoever trains it.

Figure: two optimizers on their way to the optimum that scikit-learn finds; the odds ratios of the
measurements; probability against log-odds for tumours that were not trained on, with observed
frequencies. Breast cancer (Street, Wolberg & Mangasarian 1993), standardised, with the penalty
$\frac{1}{2 n C} |w|^2$ of scikit-learn at C = 1.

    python -m experiments run logistic_regression

Time on 2 CPU cores: quick 5 s, paper 8 s. Must show: L-BFGS and Adam reach scikit-learn's loss to
1e-6 and its coefficients to 1e-3; a step of one standard deviation multiplies the odds by e^w.
"""

import dataclasses
from collections.abc import Callable
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
from sklearn.linear_model import LogisticRegression

from experiments.datasets.tables import breast_cancer
from experiments.harness import Claim, Settings, Within, reported
from experiments.harness.style import COLOURS
from sigjax.calibration import reliability_curve
from sigjax.losses import sigmoid_binary_cross_entropy
from sigjax.nn import SigmoidNeuron

OPTIMIZERS = ("L-BFGS", "Adam")
STRENGTH = 1.0  # scikit-learn's C


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Length of the two trainings."""

    lbfgs_steps: int = 100
    """Steps of L-BFGS."""
    adam_steps: int = 6000
    """Steps of Adam, on all examples, with a rate that falls to 0 along a cosine."""
    learning_rate: float = 0.1
    """Adam's first rate."""
    tested: Annotated[float, Within(0.01, 0.9)] = 0.3
    """Share of the tumours kept for the test."""

    @classmethod
    def quick(cls) -> "Config":
        """6,000 steps of Adam."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """50,000 steps of Adam."""
        return cls(adam_steps=50_000)


Loss = Callable[[nnx.State], Array]


def _descend(
    optimizer: optax.GradientTransformationExtraArgs, loss: Loss, start: nnx.State, steps: int
) -> tuple[nnx.State, Array]:
    """Weights after training, and the loss before each step."""

    def step(state: tuple[nnx.State, Any], _: None) -> tuple[tuple[nnx.State, Any], Array]:
        weights, memory = state
        value, slope = jax.value_and_grad(loss)(weights)
        updates, memory = optimizer.update(
            slope, memory, weights, value=value, grad=slope, value_fn=loss
        )
        return (optax.apply_updates(weights, updates), memory), value

    @jax.jit
    def run(start: nnx.State) -> tuple[nnx.State, Array]:
        (weights, _), losses = jax.lax.scan(
            step, (start, optimizer.init(start)), None, length=steps
        )
        return weights, losses

    return run(start)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Trains the neuron twice and scikit-learn once, in float64."""
    data = breast_cancer(key, config.tested)
    examples, features = data.train_inputs.shape
    peer = LogisticRegression(C=STRENGTH, tol=1e-12, max_iter=10_000)
    peer.fit(data.train_inputs, data.train_labels)
    with jax.enable_x64(True):
        inputs, labels = jnp.asarray(data.train_inputs), jnp.asarray(data.train_labels)
        neuron = SigmoidNeuron(features, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        graph, start = nnx.split(neuron)

        def objective(logits: Array, kernel: Array) -> Array:
            penalty = jnp.sum(jnp.square(kernel)) / (2 * examples * STRENGTH)
            return jnp.mean(sigmoid_binary_cross_entropy(logits, labels)) + penalty

        def loss(weights: nnx.State) -> Array:
            neuron = nnx.merge(graph, weights)
            return objective(neuron.logits(inputs), neuron.linear.kernel[...])

        at_peer = inputs @ peer.coef_[0] + peer.intercept_[0]
        optimum = float(objective(at_peer, jnp.asarray(peer.coef_)))
        schedule = optax.cosine_decay_schedule(config.learning_rate, config.adam_steps)
        runs = {
            "L-BFGS": (optax.lbfgs(), config.lbfgs_steps),
            "Adam": (optax.with_extra_args_support(optax.adam(schedule)), config.adam_steps),
        }
        curves, coefficients, biases, ends, logits = {}, [], [], [], []
        for name, (optimizer, steps) in runs.items():
            weights, losses = _descend(optimizer, loss, start, steps)
            trained = nnx.merge(graph, weights)
            curves[name] = np.asarray(losses)
            coefficients.append(np.asarray(trained.linear.kernel[...])[:, 0])
            biases.append(float(trained.logits(jnp.zeros(features))))
            ends.append(float(loss(weights)))
            logits.append(np.asarray(trained.logits(jnp.asarray(data.test_inputs))))
        # Every feature raised by one standard deviation, in turn, for the most doubtful tumour.
        doubtful = jnp.asarray(data.test_inputs[np.abs(logits[-1]).argmin()])
        probabilities = np.asarray(trained(doubtful + jnp.eye(features)))
        base = float(trained(doubtful))
    odds = probabilities / (1 - probabilities) / (base / (1 - base))
    return xr.Dataset(
        {
            "lbfgs_loss": ("lbfgs_step", curves["L-BFGS"]),
            "adam_loss": ("adam_step", curves["Adam"]),
            "loss": ("optimizer", ends),
            "coefficient": (("optimizer", "feature"), np.stack(coefficients)),
            "bias": ("optimizer", biases),
            "logit": (("optimizer", "test"), np.stack(logits)),
            "odds": ("feature", odds),
            "optimum": optimum,
            "peer_coefficient": ("feature", peer.coef_[0]),
            "peer_bias": float(peer.intercept_[0]),
            "peer_answer": ("test", peer.predict(data.test_inputs)),
            "label": ("test", data.test_labels),
        },
        coords={"optimizer": list(OPTIMIZERS), "feature": list(data.names)},
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """scikit-learn's optimum, and what a weight means."""
    source = "scikit-learn's LogisticRegression, C = 1, tol = 1e-12"
    found = []
    for optimizer in OPTIMIZERS:
        part = dataset.sel(optimizer=optimizer)
        off = np.abs(part["coefficient"] - part["peer_coefficient"]).max()
        answers = (part["logit"] > 0).astype(int)
        found += [
            Claim(
                name=f"{optimizer}: loss above the optimum, nat",
                source=source,
                expected=0.0,
                measured=float(part["loss"] - dataset["optimum"]),
                tolerance=1e-6,
                kind="exact",
            ),
            Claim(
                name=f"{optimizer}: largest difference of a coefficient",
                source=source,
                expected=0.0,
                measured=max(float(off), abs(float(part["bias"] - dataset["peer_bias"]))),
                tolerance=1e-3,
                kind="exact",
            ),
            Claim(
                name=f"{optimizer}: test tumours judged otherwise than by scikit-learn",
                source=source,
                expected=0.0,
                measured=float((answers != dataset["peer_answer"]).sum()),
                kind="exact",
            ),
        ]
    ratio = dataset["odds"] / np.exp(dataset["peer_coefficient"])
    found += [
        Claim(
            name="odds that our neuron gives to one standard deviation more, over e^w of "
            "scikit-learn's w: furthest from 1",
            source="logit(p) = w x + b; both minimise the same loss",
            expected=1.0,
            measured=float(ratio[int(np.abs(ratio.values - 1).argmax())]),
            tolerance=1e-5,  # Adam ends some 1e-6 from the optimum
            kind="exact",
        ),
        reported(
            "share of test tumours judged rightly",
            "for the record",
            float(
                ((dataset["logit"].sel(optimizer="L-BFGS") > 0) == (dataset["label"] > 0)).mean()
            ),
        ),
    ]
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """The way to the optimum, odds ratios, and the curve itself."""
    figure, (way, ratios, curve) = plt.subplots(1, 3, figsize=(13, 4.6))
    optimum = float(dataset["optimum"])
    for name, label in (("lbfgs", "L-BFGS"), ("adam", "Adam")):
        losses = dataset[f"{name}_loss"].values
        above = losses - optimum
        # what is left in the end is rounding
        above = np.where(above > 1e-16, above, np.nan)
        way.loglog(np.arange(1, len(losses) + 1), above, label=label)
    way.axhline(1e-6, color="0.3", linewidth=1, linestyle=":")
    way.text(1, 1.4e-6, "bar: 1e-6", fontsize=8)
    way.set_xlabel("step")
    way.set_ylabel("loss above scikit-learn's optimum (nat)")
    way.set_title("both come to the same weights")
    way.legend(loc="lower left")

    order = np.argsort(np.abs(dataset["peer_coefficient"].values))[-12:]
    rows = np.arange(len(order))
    weights = dataset["coefficient"].sel(optimizer="L-BFGS").values[order]
    ratios.barh(
        rows,
        np.exp(weights) - 1,
        left=1,
        color=[COLOURS[1] if weight > 0 else COLOURS[0] for weight in weights],
    )
    ratios.plot(np.exp(dataset["peer_coefficient"].values[order]), rows, "kx", label="scikit-learn")
    ratios.axvline(1, color="0.3", linewidth=1)
    ratios.set_xscale("log")
    ticks = [0.4, 0.6, 1, 1.5, 2, 3]
    ratios.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    ratios.minorticks_off()
    ratios.set_yticks(rows, dataset["feature"].values[order])
    ratios.set_xlabel("odds ratio of one standard deviation more, e^w (1)")
    ratios.set_ylabel("measurement")
    ratios.set_title("a weight is a change of log-odds")
    ratios.legend(loc="lower right")

    logits = dataset["logit"].sel(optimizer="L-BFGS").values
    labels = dataset["label"].values
    z = np.linspace(-12, 12, 400)
    curve.plot(z, 0.5 + np.tanh(z / 2) / 2, color="0.3", label="σ(log-odds)")
    for outcome, colour, word in ((1, COLOURS[1], "malignant"), (0, COLOURS[0], "benign")):
        own = np.clip(logits[labels == outcome], -12, 12)
        curve.plot(own, np.full(len(own), outcome), "|", color=colour, markersize=12, label=word)
    probability = (0.5 + np.tanh(logits / 2) / 2).astype(np.float32)
    seen = reliability_curve(probability, labels, bins=6, binning="mass")
    middle, frequency = np.asarray(seen.probability, float), np.asarray(seen.frequency, float)
    middle = np.clip(middle, 1e-5, 1 - 1e-5)
    spread = [frequency - np.asarray(seen.low), np.asarray(seen.high) - frequency]
    curve.errorbar(
        np.log(middle / (1 - middle)), frequency, np.maximum(spread, 0), fmt="ko", markersize=4,
        capsize=2, label="observed, sixths, 95 %",
    )  # fmt: skip
    curve.set_xlabel("log-odds w x + b (nat)")
    curve.set_ylabel("probability of malignant (1)")
    curve.set_title("tumours that were not trained on")
    curve.legend(loc="center right")
    return figure
