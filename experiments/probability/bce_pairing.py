r"""A neuron that is sure and wrong: cross-entropy lets it recover soon, squared error does not.

Figure: the gradient over the logit for either loss, the way back from 0.99 on the wrong side, and
the steps it takes over how wrong the neuron is. The article: with cross-entropy the gradient is
$\sigma(z) - y$; with squared error it holds the factor $\sigma'(z)$ as well.

    python -m experiments run bce_pairing

Time on 2 CPU cores: quick 3 s, paper 3 s. Must show: at 0.99 on the wrong side the gradients are
0.99 and 0.0196 (ratio 50.5, exactly $1/(2\sigma'(z))$); where 1 is right, cross-entropy's is -0.9
at 0.1 and -0.01 at 0.99; gradient descent needs the times to come back to 1/2 that integrating
$dz/dt = -L'(z)$ gives, 10.318 times as long with squared error.
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, Within
from sigjax import logit, sigmoid
from sigjax.losses import sigmoid_binary_cross_entropy, squared_error_on_sigmoid

LOSSES = {"cross-entropy": sigmoid_binary_cross_entropy, "squared error": squared_error_on_sigmoid}
WRONG = 0.99  # the article's neuron: this probability, and the label is 0
SAID = (0.1, 0.99)  # the article's predictions where the label is 1
_DRAWN_TIME = 80.0  # until both losses are back: squared error takes 57.6
_DRAWN_POINTS = 800


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Gradient descent on the logit itself."""

    learning_rate: Annotated[float, Within(0, 1, above=True)] = 0.1
    """Learning rate; small, so that the steps follow the gradient flow."""
    most_steps: int = 200_000
    """Steps after which a recovery is given up."""

    @classmethod
    def quick(cls) -> "Config":
        """A rate of 0.1."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """A rate of 0.01."""
        return cls(learning_rate=0.01, most_steps=2_000_000)


def flow_time(probability: np.ndarray, loss: str) -> np.ndarray:
    r"""Time in which $dz/dt = -L'(z)$ brings $\sigma(z)$ from `probability` to 1/2, label 0.

    With $p = \sigma(z)$ and $dp = p(1-p)\,dz$: cross-entropy has $\int dp/(p^2(1-p))$, squared
    error $\int dp/(2p^3(1-p)^2)$, both from 1/2.
    """
    p = np.asarray(probability, np.float64)

    def antiderivative(p: np.ndarray) -> np.ndarray:
        odds = np.log(p) - np.log1p(-p)
        if loss == "cross-entropy":
            return odds - 1 / p
        # partial fractions of 1/(p^3 (1-p)^2): 3/p + 2/p^2 + 1/p^3 + 3/(1-p) + 1/(1-p)^2
        return (3 * odds - 2 / p - 1 / (2 * p**2) + 1 / (1 - p)) / 2

    return antiderivative(p) - antiderivative(np.asarray(0.5))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _steps_back(loss: str, start: Array, config: Config) -> Array:
    """Steps of gradient descent until the neuron is no longer on the wrong side."""
    slope = jax.grad(lambda z: LOSSES[loss](z, 0.0))

    def wrong(state: tuple[Array, Array]) -> Array:
        z, step = state
        return (z > 0) & (step < config.most_steps)

    def descend(state: tuple[Array, Array]) -> tuple[Array, Array]:
        z, step = state
        return z - config.learning_rate * slope(z), step + 1

    return jax.lax.while_loop(wrong, descend, (start, jnp.int32(0)))[1]


def measure(config: Config, key: Array) -> xr.Dataset:
    """Gradients over logits, times of recovery, and the way back from 0.99; no randomness."""
    logits = np.linspace(-8, 8, 161).astype(np.float32)
    wrong = np.array([0.6, 0.7, 0.8, 0.9, 0.95, 0.98, WRONG, 0.995, 0.998, 0.999], np.float32)
    start = jnp.asarray(logit(wrong))
    said = jnp.asarray(logit(np.array(SAID, np.float32)))
    gradients, steps, ways, flows, rights = [], [], [], [], []
    drawn = round(_DRAWN_TIME / config.learning_rate)
    thinned = slice(None, None, -(-drawn // _DRAWN_POINTS))
    for name, loss in LOSSES.items():
        gradients.append(jax.vmap(jax.grad(loss), (0, None))(jnp.asarray(logits), 0.0))
        rights.append(jax.vmap(jax.grad(loss), (0, None))(said, 1.0))
        steps.append(jax.vmap(lambda z, name=name: _steps_back(name, z, config))(start))
        flows.append(flow_time(wrong, name))

        def descend(z: Array, _: None, loss=loss) -> tuple[Array, Array]:
            return z - config.learning_rate * jax.grad(loss)(z, 0.0), sigmoid(z)

        way = jax.lax.scan(descend, logit(jnp.float32(WRONG)), None, length=drawn)[1]
        ways.append(way[thinned])
    dataset = xr.Dataset(
        {
            "gradient": (("loss", "logit"), np.stack(gradients)),
            "gradient_of_1": (("loss", "said"), np.stack(rights)),
            "steps": (("loss", "probability"), np.stack(steps).astype(float)),
            "flow_time": (("loss", "probability"), np.stack(flows)),
            "way": (("loss", "step"), np.stack(ways)),
            "learning_rate": config.learning_rate,
        },
        coords={
            "loss": list(LOSSES),
            "logit": logits,
            "said": list(SAID),
            "probability": wrong.astype(np.float64),
            "step": np.arange(drawn)[thinned],
        },
    )
    dataset["gradient"].attrs = {"long_name": "gradient by the logit, label 0", "units": "1"}
    return dataset


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The article's numbers at 0.99, the pairing's identity, and the times of recovery."""
    found = []
    at = dataset.sel(probability=WRONG, method="nearest")
    z = float(np.log(WRONG) - np.log1p(-WRONG))
    gradient = dataset["gradient"].interp(logit=z, method="cubic")
    for name, expected in (
        ("cross-entropy", WRONG),
        ("squared error", 2 * WRONG * WRONG * (1 - WRONG)),
    ):
        found.append(
            Claim(
                name=f"{name}: gradient of a neuron that says 0.99 where 0 is right",
                source="the article; sigma(z) - y, and 2 (sigma(z) - y) sigma'(z)",
                expected=expected,
                measured=float(gradient.sel(loss=name)),
                tolerance=1e-3,
                kind="exact",
                relative=True,
            )
        )
    for said in SAID:
        found.append(
            Claim(
                name=f"cross-entropy: gradient of a neuron that says {said:g} where 1 is right",
                source="the article: the prediction less the label",
                expected=said - 1,
                measured=float(dataset["gradient_of_1"].sel(loss="cross-entropy", said=said)),
                tolerance=1e-6,  # float32 rounds the logit to 6e-8 of itself, at most 4.6
                kind="exact",
                relative=True,
            )
        )
    p = 1 / (1 + np.exp(-dataset["logit"].values.astype(np.float64)))
    found.append(
        Claim(
            name="cross-entropy: largest distance of the gradient from sigma(z) - y",
            source="the article: the gradient is proportional to the error",
            expected=0.0,
            measured=float(np.abs(dataset["gradient"].sel(loss="cross-entropy") - p).max()),
            tolerance=2.0**-23,  # one rounding of float32 near 1, and as much of sigma
            kind="exact",
        )
    )
    for name in LOSSES:
        part = at.sel(loss=name)
        found.append(
            Claim(
                name=f"{name}: time to come back from 0.99 to 1/2",
                source="gradient flow, integrated in closed form; descent lags by half a step",
                expected=float(part["flow_time"]),
                measured=float(part["steps"] * dataset["learning_rate"]),
                tolerance=0.05,
                kind="exact",
                relative=True,
            )
        )
    slow, fast = at.sel(loss="squared error"), at.sel(loss="cross-entropy")
    found.append(
        Claim(
            name="squared error over cross-entropy: steps to come back from 0.99",
            source="the article: squared error learns slowly where it is wrong; gradient flow",
            expected=float(slow["flow_time"] / fast["flow_time"]),
            measured=float(slow["steps"] / fast["steps"]),
            tolerance=0.02,  # a step of descent is 2 % of the faster way, and half of it is lag
            kind="exact",
            relative=True,
        )
    )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Gradient over logit; way back; steps over how wrong."""
    figure, (gradient, way, steps) = plt.subplots(1, 3, figsize=(13, 4))
    for name in LOSSES:
        part = dataset.sel(loss=name)
        gradient.plot(dataset["logit"], part["gradient"], label=name)
        way.plot(dataset["step"] * dataset["learning_rate"], part["way"], label=name)
        line = steps.plot(
            1 - dataset["probability"],
            part["steps"] * dataset["learning_rate"],
            "o",
            label=f"{name}, descent",
        )
        steps.plot(
            1 - dataset["probability"],
            part["flow_time"],
            color=line[0].get_color(),
            label=f"{name}, closed form",
        )
    gradient.axvspan(0, 8, color="0.93", zorder=0)
    gradient.set_xlabel("logit z (shaded: on the wrong side)")
    gradient.set_ylabel("gradient by the logit, label 0 (1)")
    gradient.set_title("squared error's gradient dies where it is needed")
    way.axhline(0.5, color="black", linewidth=1, linestyle=":")
    way.set_xlabel("time: steps times learning rate (1)")
    way.set_ylabel("probability that the neuron gives (1)")
    way.set_title("the way back from 0.99")
    steps.set_xscale("log")
    steps.set_yscale("log")
    steps.invert_xaxis()
    steps.set_xlabel("probability given to the right label at first (1)")
    steps.set_ylabel("time to come back to 1/2 (1)")
    steps.set_title("the more wrong, the longer")
    for axis in (gradient, way, steps):
        axis.legend()
    return figure
