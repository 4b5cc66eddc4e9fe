r"""Attention by sigmoids, and gates behind attention: size, slope, sinks, memory.

Figure: Ramapuram et al. 2024 (arXiv:2409.04431): the size of $\sigma(qk^\top/\sqrt d + b)\,v$ over
the number of keys, with $b = 0$ and $b = -\log n$, beside softmax's; the slope of a weight as its
logit saturates, from bfloat16; temporary memory and time of value and gradient. Qiu et al. 2025
(arXiv:2505.06708): how much of the attention of small trained models rests on the first token, with
a sigmoid gate behind it and without.

    python -m experiments run attention_gates

Time on 2 CPU cores: quick 15 s, paper 9 min. Must show: with $b = 0$ the size grows as
$n^{0.5 \pm 0.05}$ for zero-mean values, with $b = -\log n$ its exponent is softmax's; a slope that
keeps its digits where $1 - p$ has none left.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

import sigjax.nn as snn
from experiments.harness import Claim, Settings, Within, gather, over_devices, reported, sweep
from experiments.harness.stopwatch import compiled, median_seconds

from ._attention_panels import plot as plot
from ._repeating import train

TIMED = True
HEADS, DEPTH = 8, 64
FORMS = ("sigmoid, b = 0", "sigmoid, b = -log n", "softmax")
BEHIND = ("no gate", "head-wise gate")


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
    """Slopes of the output by one logit.

    A query sees two keys: one with that logit and the value 1, one with logit and value 0.
    """
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


def _trained(config: Config, key: Array) -> xr.Dataset:
    """Both models of every seed, from the same weights and on the same sequences."""

    one = functools.partial(
        train,
        length=config.length,
        batch=config.batch,
        steps=config.steps,
        learning_rate=config.learning_rate,
    )
    has_gate = jnp.array([name != "no gate" for name in BEHIND])
    losses, share, gate = over_devices(
        lambda key: jax.vmap(one, in_axes=(None, 0))(key, has_gate),
        jax.random.split(key, config.seeds),
    )
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


def cost(point: Mapping[str, Any]) -> float:
    """Relative time of a point: by its pairs of tokens."""
    return float(point.get("length", 1) ** 2)


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
