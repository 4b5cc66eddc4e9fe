r"""How far back a gradient reaches through gates, and what their first bias decides.

Figure: the gradient by the input over how long ago it came, for a plain RNN, GRU and LSTM with
several biases; learning curves of the delayed signal with forget biases 0, 1 and 2 and with
chrono biases (Gers et al. 2000; Jozefowicz et al. 2015; Tallec & Ollivier 2018).

    python -m experiments run recurrent_gates

Time on 2 CPU cores: quick 25 s, paper 10 min. Must show: a forget bias b keeps
$\sigma(b)^{50}$ over 50 steps (9e-16, 1.5e-7, 1.8e-3 for 0, 1, 2); an LSTM whose bias is 2 solves
the delayed signal at length 50 within 1,000 steps (99 %), one whose bias is 0 does not (60 %).
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from flax import nnx
from jax import Array
from jax.nn.initializers import constant
from matplotlib.figure import Figure

import sigjax.nn as snn
from experiments.harness import Claim, Settings, Within, gather, reported, sweep
from sigjax import sigmoid

from ._tasks import DELAYED_SIGNAL
from ._training import SequenceModel, train

_INPUTS, _BATCH = 8, 16  # of the sequences through which gradients are followed


def _cell(name: str, inputs: int, hidden: int, length: int, rngs: nnx.Rngs) -> nnx.RNNCellBase:
    """A cell by the name that the figure shows."""
    kind, _, bias = name.partition(", ")
    if kind == "RNN":
        return nnx.SimpleCell(inputs, hidden, rngs=rngs)
    if bias == "chrono":
        make = snn.GRUCell if kind == "GRU" else snn.LSTMCell
        return make(inputs, hidden, max_time=1.5 * length, rngs=rngs)
    if kind == "GRU":
        return snn.GRUCell(inputs, hidden, rngs=rngs)
    forget = constant(float(bias.removeprefix("b = ")))
    return snn.LSTMCell(inputs, hidden, forget_bias_init=forget, rngs=rngs)


FORGET_BIASES = (0, 1, 2)
_LSTMS = tuple(f"LSTM, b = {bias}" for bias in FORGET_BIASES)
FOLLOWED = ("RNN", "GRU", *_LSTMS, "LSTM, chrono", "GRU, chrono")
TRAINED = (*_LSTMS, "LSTM, chrono")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Lengths and trainings."""

    reach: Annotated[int, Within(3)] = 100
    """Steps through which gradients are followed back."""
    hidden: int = 32
    """Units of every cell."""
    length: Annotated[int, Within(3)] = 50
    """Length of the delayed signal."""
    steps: int = 700
    """Steps of training."""
    batch: int = 32
    """Sequences a step."""
    learning_rate: float = 3e-3
    """Of Adam."""
    seeds: int = 3
    """Independent trainings."""

    @classmethod
    def quick(cls) -> "Config":
        """The task of the claims, three seeds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Five seeds, larger batches, to the end, and gradients through 500 steps."""
        return cls(reach=500, steps=4000, batch=64, seeds=5)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Follows gradients back, then trains."""
    follow = [{"followed": name} for name in FOLLOWED]
    norms = sweep(follow, functools.partial(_follow, config=config, key=key))
    trainings = [{"trained": name} for name in TRAINED]
    curves = sweep(trainings, functools.partial(_train, config=config, key=key))
    dataset = gather(follow, norms).merge(gather(trainings, curves))
    dataset["log10_norm"].attrs = {"long_name": "log10 of the gradient's norm", "units": "1"}
    dataset["ago"].attrs = {"long_name": "steps ago", "units": "steps"}
    return dataset


def _follow(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    """Norms of the gradient of the last output by the input at every step, mean log of seeds."""

    def cell(seed: int) -> nnx.RNNCellBase:
        return _cell(point["followed"], _INPUTS, config.hidden, config.reach, nnx.Rngs(seed))

    graph, _ = nnx.split(snn.RNN(cell(0)))

    @jax.jit
    @jax.grad
    def gradient(inputs: Array, state: nnx.State, readout: Array) -> Array:
        rnn: Any = nnx.merge(graph, state, copy=True)
        return jnp.sum(rnn(inputs)[:, -1] * readout)

    def norms(seed: int) -> np.ndarray:
        for_inputs, for_readout = jax.random.split(jax.random.fold_in(key, seed))
        inputs = jax.random.normal(for_inputs, (_BATCH, config.reach + 1, _INPUTS))
        readout = jax.random.normal(for_readout, (_BATCH, config.hidden))
        _, state = nnx.split(snn.RNN(cell(seed)))
        # float32 holds the gradients, but not their squares
        wide = np.asarray(gradient(inputs, state, readout), np.float64)
        return np.linalg.norm(wide, axis=(0, 2))[::-1]

    with np.errstate(divide="ignore"):
        logs = np.stack([np.log10(norms(seed)) for seed in range(2)])
    return xr.Dataset(
        {"log10_norm": ("ago", logs.mean(axis=0))}, coords={"ago": range(config.reach + 1)}
    )


def _train(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    def make_cell(inputs: int, hidden: int, rngs: nnx.Rngs) -> nnx.RNNCellBase:
        return _cell(point["trained"], inputs, hidden, config.length, rngs)

    found = train(
        DELAYED_SIGNAL,
        lambda rngs: SequenceModel(
            DELAYED_SIGNAL.features, config.hidden, snn.RNN, make_cell, rngs
        ),
        length=config.length,
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        seeds=config.seeds,
        key=key,
    )
    blocks = np.array_split(found.right, min(50, config.steps), axis=1)
    right = np.stack([block.mean(axis=1) for block in blocks], axis=1)
    step = config.steps / len(blocks) * np.arange(1, len(blocks) + 1)
    return xr.Dataset(
        {"right": (("seed", "step"), right), "test": ("seed", found.test)},
        coords={"seed": range(config.seeds), "step": step},
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What the bias keeps, and what it decides."""
    found = []
    for bias, kept in zip(FORGET_BIASES, (8.882e-16, 1.57e-7, 1.75e-3), strict=True):
        found.append(
            Claim(
                name=f"a memory behind a forget gate of bias {bias}, after 50 steps",
                source="sigma(b)^50, closed form",
                expected=kept,
                measured=float(sigmoid(jnp.float32(bias)) ** 50),
                tolerance=0.01,
                kind="exact",
                relative=True,
            )
        )
    last = dataset["log10_norm"].isel(ago=-1)
    reach = int(dataset["ago"].max())
    found.append(
        Claim(
            name=f"log10 of the gradient {reach} steps ago: chrono LSTM over bias 0",
            source="Tallec & Ollivier 2018: chrono gates keep",
            expected=6.0,
            measured=float(last.sel(followed="LSTM, chrono") - last.sel(followed="LSTM, b = 0")),
            kind="qualitative",
            relation=">=",
        )
    )
    test = dataset["test"]
    source = "delayed signal of length 50; Gers et al. 2000"
    found += [
        Claim(
            name="forget bias 2: share of right answers, worst seed",
            source=source,
            expected=0.99,
            measured=float(test.sel(trained="LSTM, b = 2").min()),
            kind="statistical",
            relation=">=",
        ),
        Claim(
            name="forget bias 0: share of right answers, mean of seeds",
            source=source,
            expected=0.6,
            measured=float(test.sel(trained="LSTM, b = 0").mean()),
            kind="statistical",
            relation="<=",
        ),
    ]
    found += [
        reported(
            f"{name}: share of right answers, mean of seeds",
            "for information",
            float(test.sel(trained=name).mean()),
        )
        for name in ("LSTM, b = 1", "LSTM, chrono")
    ]
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Gradients over time past; learning curves."""
    figure, (past, learning) = plt.subplots(1, 2, figsize=(12, 4.6))
    for name in FOLLOWED:
        style = ":" if name == "RNN" else "--" if name.startswith("GRU") else "-"
        past.plot(dataset["ago"], dataset["log10_norm"].sel(followed=name), style, label=name)
    past.set_xlabel("steps ago")
    past.set_ylabel("log10 norm of the gradient by the input (1)")
    past.set_title("how far back a gradient reaches, at initialisation")
    past.legend()
    for name in TRAINED:
        right = dataset["right"].sel(trained=name)
        line = learning.plot(dataset["step"], right.mean("seed"), label=name)
        learning.fill_between(
            dataset["step"],
            right.min("seed"),
            right.max("seed"),
            color=line[0].get_color(),
            alpha=0.15,
        )
    learning.axhline(0.5, color="black", linewidth=1, linestyle=":", label="chance")
    learning.set_ylim(0.4, 1.02)
    learning.set_xlabel("step of training")
    learning.set_ylabel("share of right answers (1)")
    learning.set_title("delayed signal (mean and range of seeds)")
    learning.legend(loc="center right")
    return figure
