r"""Attention by sigmoids, and gates behind attention: size, slope, sinks, memory.

Figure: Ramapuram et al. 2024 (arXiv:2409.04431): the size of $\sigma(qk^\top/\sqrt d + b)\,v$ over
the number of keys, with $b = 0$ and $b = -\log n$, beside softmax's; the slope of a weight as its
logit saturates, from bfloat16; temporary memory and time of value and gradient. Qiu et al. 2025
(arXiv:2505.06708): how much of the attention of small trained models rests on the first token, with
a sigmoid gate behind it and without.

    python -m experiments run attention_gates

Time on 2 CPU cores: quick 15 s, paper 15 min. Must show: with $b = 0$ the size grows as
$n^{0.5 \pm 0.05}$ for zero-mean values, with $b = -\log n$ its exponent is softmax's; a slope that
keeps its digits where $1 - p$ has none left.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
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

import sigjax.nn as snn
from experiments.harness import Claim, Settings, Within, gather, over_devices, reported, sweep
from experiments.harness.bands import mean_and_range
from experiments.harness.stopwatch import compiled, median_seconds
from experiments.harness.style import COLOURS, MEANING

TIMED = True
HEADS, DEPTH = 8, 64
FORMS = ("sigmoid, b = 0", "sigmoid, b = -log n", "softmax")
BEHIND = ("no gate", "head-wise gate")
_TOKENS, _WIDTH, _LAYERS = 16, 32, 2  # of the trained models


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Sizes."""

    lengths: Annotated[tuple[int, ...], Within(16)] = (64, 256, 1024)
    """Keys and queries of the outputs whose size, memory and time are measured."""
    rounds: int = 1
    """Timed rounds of each attention."""
    length: Annotated[int, Within(4)] = 32
    """Tokens of the sequences that models are trained on; the second half repeats the first."""
    steps: Annotated[int, Within(10)] = 110
    """Steps of Adam."""
    batch: int = 32
    """Sequences a step."""
    learning_rate: Annotated[float, Within(0, above=True)] = 3e-3
    """Adam's learning rate."""
    seeds: Annotated[int, Within(1)] = 5
    """Independent models."""

    @classmethod
    def quick(cls) -> "Config":
        """Up to 1,024 keys, timed once; 110 steps."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Up to 4,096 keys; sequences of 64 tokens, 3,000 steps."""
        return cls(lengths=(64, 256, 1024, 4096), rounds=11, length=64, steps=3000)


def _attend(form: str, query: Array, key: Array, value: Array) -> Array:
    if form == "softmax":
        return jax.nn.dot_product_attention(query, key, value)
    bias = 0.0 if form == "sigmoid, b = 0" else None
    return snn.dot_product_sigmoid_attention(query, key, value, logit_bias=bias)


def _plain(query: Array, key: Array, value: Array, bias: Array) -> Array:
    """Sigmoid attention as it is written, with an array of all pairs."""
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) / DEPTH**0.5 + bias
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.sigmoid(logits), value)


def _of_length(point: Mapping[str, Any], *, config: Config, key: Array) -> xr.Dataset:
    length = point["length"]
    shape = (1, length, HEADS, DEPTH)
    given = [jax.random.normal(k, shape) for k in jax.random.split(key, 3)]

    def training(attend: Callable[..., Array]) -> Callable[..., Any]:
        return jax.value_and_grad(lambda *given: jnp.sum(attend(*given) ** 2), (0, 1, 2))

    ours, softmax = (functools.partial(_attend, form) for form in FORMS[1:])
    functions: dict[str, tuple[Callable[..., Array], list[Array]]] = {
        "sigjax": (ours, given),
        "all pairs": (_plain, [*given, -jnp.log(jnp.float32(length))]),
        "jax.nn, softmax": (softmax, given),
    }
    programs = compiled(
        {
            name: jax.jit(training(function)).lower(*arguments)
            for name, (function, arguments) in functions.items()
        }
    )
    calls = {name: functools.partial(programs[name], *functions[name][1]) for name in functions}
    seconds = median_seconds(calls, config.rounds)
    analyses: list[Any] = [program.memory_analysis() for program in programs.values()]
    memory = [float(a.temp_size_in_bytes) if a else np.nan for a in analyses]
    # The same programs give the sizes; that of b = 0 comes from the plain formula.
    outputs = {
        FORMS[0]: functools.partial(programs["all pairs"], *given, jnp.float32(0)),
        FORMS[1]: calls["sigjax"],
        FORMS[2]: calls["jax.nn, softmax"],
    }
    squares = np.array([float(outputs[form]()[0]) for form in FORMS])
    return xr.Dataset(
        {
            "size": ("form", np.sqrt(squares / given[2].size)),
            "seconds": ("library", [seconds[name] for name in functions]),
            "temporary": ("library", memory),
        },
        coords={"form": list(FORMS), "library": list(functions)},
    )


def _slopes() -> xr.Dataset:
    """Of the output by one logit: a query, a key with that logit and value 1, one with 0 and 0."""
    logits = np.linspace(0, 40, 81)

    def output(form: str, logit: Array) -> Array:
        # Of four features, the first alone is not 0: their scale is 1/2, which rounds nothing.
        query, key, value = (jnp.zeros((n, 1, 4), jnp.bfloat16) for n in (1, 2, 2))
        query, value = (array.at[0, 0, 0].set(1) for array in (query, value))
        key = key.at[0, 0, 0].set(2 * logit)
        return _attend(form, query, key, value)[0, 0, 0]

    slopes = [
        jax.jit(jax.vmap(jax.grad(functools.partial(output, form))))(
            jnp.asarray(logits, jnp.bfloat16)
        )
        for form in ("sigmoid, b = 0", "softmax")
    ]
    given = np.asarray(jnp.asarray(logits, jnp.bfloat16), np.float64)
    return xr.Dataset(
        {
            "slope": (("weight", "logit"), np.array(slopes, np.float64)),
            "exact_slope": ("logit", 1 / (4 * np.cosh(given / 2) ** 2)),
        },
        coords={"weight": ["sigmoid", "softmax"], "logit": given},
    )


class Model(nnx.Module):
    """A causal transformer with a gate behind its attention."""

    def __init__(self, length: int, rngs: nnx.Rngs):
        self.embed = nnx.Embed(_TOKENS, _WIDTH, rngs=rngs)
        self.places = nnx.Param(0.1 * jax.random.normal(rngs.params(), (length, _WIDTH)))
        layers = range(_LAYERS)
        self.norms = nnx.List([nnx.LayerNorm(_WIDTH, rngs=rngs) for _ in range(2 * _LAYERS)])
        self.attention = nnx.List([snn.GatedAttention(2, _WIDTH, rngs=rngs) for _ in layers])
        self.wide = nnx.List([nnx.Linear(_WIDTH, 2 * _WIDTH, rngs=rngs) for _ in layers])
        self.narrow = nnx.List([nnx.Linear(2 * _WIDTH, _WIDTH, rngs=rngs) for _ in layers])
        self.head = nnx.Linear(_WIDTH, _TOKENS, rngs=rngs)

    def __call__(self, tokens: Array) -> tuple[Array, Array, Array]:
        """Logits `[batch, length, tokens]`; gates; shares of attention on the first token."""
        x = self.embed(tokens) + self.places[...]
        gates, shares = [], []
        for i in range(_LAYERS):
            outputs, opening, weights = self.attention[i](
                self.norms[2 * i](x), is_causal=True, return_gates=True, return_attention=True
            )
            x = x + outputs
            x = x + self.narrow[i](jax.nn.gelu(self.wide[i](self.norms[2 * i + 1](x))))
            gates.append(opening)
            # Of the second half, where attention has something to look for.
            shares.append(weights[..., tokens.shape[1] // 2 :, 0])
        return self.head(x), jnp.stack(gates), jnp.stack(shares)


def _train(key: Array, has_gate: Array, *, config: Config) -> tuple[Array, Array, Array]:
    """The loss by step; the share of attention on the first token; the mean gate.

    "No gate" freezes the gate's parameters: it is the constant factor 1/2.
    """
    length = config.length
    parts: Any = nnx.split(Model(length, nnx.Rngs(key)), nnx.Param, ...)
    graph, start, rest = parts
    optimizer = optax.adam(config.learning_rate)

    def draw(key: Array) -> Array:
        half = jax.random.randint(key, (config.batch, length // 2), 0, _TOKENS)
        return jnp.concatenate([half, half], axis=1)

    def loss(parameters: nnx.State, tokens: Array) -> Array:
        logits, _, _ = nnx.merge(graph, parameters, rest)(tokens)
        # What follows is known from the second half on.
        given, known = logits[:, length // 2 - 1 : -1], tokens[:, length // 2 :]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(given, known))

    def step(state: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Array]:
        parameters, moments = state
        value, slope = jax.value_and_grad(loss)(parameters, draw(key))
        change, moments = optimizer.update(slope, moments)
        change = _only_trained(change, has_gate)
        return (optax.apply_updates(parameters, change), moments), value

    state = start, optimizer.init(start)
    (parameters, _), losses = jax.lax.scan(step, state, jax.random.split(key, config.steps))
    _, gates, shares = nnx.merge(graph, parameters, rest)(draw(jax.random.fold_in(key, 1)))
    return losses, jnp.mean(shares), jnp.mean(gates)


def _only_trained(change: Any, has_gate: Array) -> Any:
    """A change of all parameters, without that of the gates if there is to be none."""
    return jax.tree.map_with_path(
        lambda path, leaf: jnp.where(has_gate | ("gate" not in _names(path)), leaf, 0), change
    )


def _names(path: tuple[Any, ...]) -> list[str]:
    return [str(getattr(entry, "key", "")) for entry in path]


def _trained(config: Config, key: Array) -> xr.Dataset:
    """Both models of every seed, from the same weights and on the same sequences."""

    def train(key: Array) -> tuple[Array, Array, Array]:
        has_gate = jnp.array([name != "no gate" for name in BEHIND])
        return jax.vmap(functools.partial(_train, config=config), in_axes=(None, 0))(key, has_gate)

    losses, share, gate = over_devices(train, jax.random.split(key, config.seeds))
    return xr.Dataset(
        {
            "loss": (("seed", "behind", "step"), losses),
            "sink": (("seed", "behind"), share),
            "gate": (("seed", "behind"), gate),
        },
        coords={
            "seed": np.arange(config.seeds),
            "behind": list(BEHIND),
            "step": np.arange(config.steps),
        },
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Sizes, memory and time by length; slopes; trained models."""
    lengths = [{"length": length} for length in config.lengths]
    found = sweep(lengths, functools.partial(_of_length, config=config, key=key))
    (trained,) = sweep([{"task": "repeat"}], lambda _: _trained(config, key))
    return xr.merge([gather(lengths, found), trained, _slopes()])


def _exponent(dataset: xr.Dataset, form: str) -> float:
    """Slope of log size over log length."""
    size = dataset["size"].sel(form=form)
    return float(np.polyfit(np.log(dataset["length"]), np.log(size), 1)[0])


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Exponents, slopes, and what small models do."""
    longest = dataset.isel(length=-1)
    n = int(longest["length"])
    ours, plain, softmax = (longest.isel(library=i) for i in range(3))
    ratio = dataset["slope"].sel(weight="sigmoid") / dataset["exact_slope"]
    dead = dataset["logit"].where(dataset["slope"].sel(weight="softmax") == 0)
    last = dataset["loss"].isel(step=slice(-(dataset.sizes["step"] // 10), None)).mean("step")
    found = [
        Claim(
            "b = 0: exponent of the output's size over the number of keys",
            "a sum of n independent values with weights near 1/2",
            0.5,
            _exponent(dataset, FORMS[0]),
            kind="statistical",
            tolerance=0.05,
        ),
        Claim(
            "b = -log n: exponent of the output's size less that of softmax's",
            "Ramapuram et al. 2024: each weight is about 1/n, as softmax's",
            0.0,
            _exponent(dataset, FORMS[1]) - _exponent(dataset, FORMS[2]),
            kind="statistical",
            tolerance=0.05,
        ),
        Claim(
            "bfloat16: largest relative error of a weight's slope, logits from 0 to 40",
            "sigma'(z), rounded once to bfloat16",
            0.0,
            float(np.abs(ratio - 1).max()),
            kind="exact",
            tolerance=2.0**-8,
        ),
        reported(
            "softmax over two keys, bfloat16: logit from which the slope is 0",
            "1 - p in float32",
            float(dead.min()),
        ),
        reported(
            f"temporary memory at {n:,} keys, value and gradient, over that of all pairs",
            "blocks of queries and keys; an aim of 1/16 at 4,096",
            float(ours["temporary"]) / float(plain["temporary"]),
            aim=1 / 16 if n >= 4096 else None,
            relation="<=",
        ),
    ]
    for name, other in (("all pairs", plain), ("jax.nn's softmax attention", softmax)):
        found.append(
            reported(
                f"time at {n:,} keys, value and gradient, over that of {name}",
                "median of interleaved calls",
                float(ours["seconds"]) / float(other["seconds"]),
            )
        )
    for behind in BEHIND:
        part = dataset["sink"].sel(behind=behind)
        found.append(
            reported(
                f"{behind}: attention on the first token, mean over seeds",
                "Qiu et al. 2025, 15 billion parameters: .467 without a gate, .048 with it",
                float(part.mean()),
            )
        )
    found.append(
        reported(
            "mean gate of trained models",
            "Qiu et al. 2025: .116",
            float(dataset["gate"].sel(behind=BEHIND[1]).mean()),
        )
    )
    found.append(
        reported(
            "loss at the end with the gate over that without",
            "repeating 16 tokens",
            float(last.sel(behind=BEHIND[1]).mean()) / float(last.sel(behind=BEHIND[0]).mean()),
        )
    )
    return found


_COLOURS = {
    "sigjax": MEANING["sigjax"],
    "jax.nn, softmax": MEANING["peer"],
    "all pairs": COLOURS[3],
}


def plot(dataset: xr.Dataset) -> Figure:
    """Size; slope; memory and time; training and sinks."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8))
    size, slope, memory, seconds, loss, sink = axes.flat
    for form, mark in zip(FORMS, ("o-", "s-", "x--"), strict=True):
        size.plot(dataset["length"], dataset["size"].sel(form=form), mark, label=form)
    size.set_ylabel("root mean square of the output (1)")
    size.set_title("b = -log n keeps the size of softmax's")
    for library, mark in zip(dataset["library"].values, ("o-", "s-", "x--"), strict=True):
        part = dataset.sel(library=library)
        look = {"color": _COLOURS[str(library)], "label": library}
        memory.plot(dataset["length"], part["temporary"] / 2**20, mark, **look)
        seconds.plot(dataset["length"], 1e3 * part["seconds"], mark, **look)
    memory.set_ylabel("temporary memory of value and gradient (MiB)")
    memory.set_title("no array of all pairs")
    seconds.set_ylabel("time of value and gradient (ms)")
    seconds.set_title("8 heads of 64, float32")
    for axis in (size, memory, seconds):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("keys and queries (1)")
        axis.legend()
    slope.plot(
        dataset["logit"], dataset["exact_slope"], color="0.6", linewidth=5, label="sigma'(z)"
    )
    for weight, mark in (("sigmoid", "."), ("softmax", "x")):
        shown = dataset["slope"].sel(weight=weight)
        slope.plot(dataset["logit"], shown.where(shown > 0), mark, label=weight)
    slope.set_yscale("log")
    slope.set_xlabel("logit of one key, the other's is 0 (1)")
    slope.set_ylabel("slope of the output, from bfloat16 (1)")
    slope.set_title("softmax's slope is 0 where 1 - p is")
    slope.legend()
    for behind, line in zip(BEHIND, ("-", "--"), strict=True):
        curve = dataset["loss"].sel(behind=behind)
        mean_and_range(loss, dataset["step"], curve, line, label=behind)
    loss.set_xlabel("step of Adam (1)")
    loss.set_ylabel("cross-entropy of what is repeated (nat)")
    loss.set_title("a small transformer; bands: all seeds")
    loss.legend()
    for place, behind in enumerate(BEHIND):
        values = dataset["sink"].sel(behind=behind)
        sink.plot(np.full(values.size, place), values, "o", fillstyle="none")
        sink.plot(place, values.mean(), "_", color="black", markersize=30)
    sink.set_xticks(range(len(BEHIND)), BEHIND)
    sink.set_xlim(-0.5, len(BEHIND) - 0.5)
    sink.set_ylim(0, None)
    sink.set_xlabel("behind the attention")
    sink.set_ylabel("attention on the first token (1)")
    sink.set_title("sinks; a circle a seed, bars: means")
    return figure
