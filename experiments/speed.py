"""Time of the functions, their vjp and hvp, over that of jax.nn's, and what accuracy costs.

Figure: ratios of times, the share of a plain copy's bandwidth, and error against time for
several ways to write the sigmoid.

    python -m experiments run speed

Time on 2 CPU cores: quick 2 minutes, paper 8 minutes. sigmoid, silu and logit should take no
longer than jax.nn's (0.97 allows for the clock); softplus and log_sigmoid forward 1.0, vjp 1.7
and hvp 2.0 times less. A shared machine's clock passes no verdict: the ratios are reported.
All contestants run in one process, in an order drawn anew each round; compilation is apart.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import Claim, gather, sweep
from experiments.harness.stopwatch import PACES, race
from experiments.numerics import subjects
from experiments.numerics.forms import FORMS
from experiments.numerics.judge import errors, worst
from experiments.numerics.ulps import float32_numbers

FUNCTIONS = ("sigmoid", "silu", "logit", "softplus", "log_sigmoid")
MODES = ("forward", "vjp", "hvp")
DTYPES = ("float32", "bfloat16")
CONTESTANTS = ("sigjax", "sigjax faithful", "jax", "copy")
# What this project aims at: jax's time over sigjax's, per mode.
_NO_SLOWER, _BETTER_RULE = (0.97, 0.97, 0.97), (1.0, 1.7, 2.0)
BARS = {
    name: _BETTER_RULE if name in ("softplus", "log_sigmoid") else _NO_SLOWER for name in FUNCTIONS
}
_SMALL = 2**18  # fewer elements than this stay in the cache
_STRIDE = 4099  # of the float32 numbers that the forms' errors are taken over


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes, and how often each contestant runs."""

    sizes: tuple[int, ...] = (2**14, 2**23)
    """Elements: in the cache and in memory."""
    rounds: int = 40
    """Timed rounds of arrays that stay in the cache."""
    rounds_in_memory: int = 9
    """Timed rounds of larger arrays."""

    def __post_init__(self) -> None:
        for name in ("rounds", "rounds_in_memory"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"sizes must be positive numbers of elements, got {self.sizes}")

    @classmethod
    def quick(cls) -> "Config":
        """Medians of 40 and of 9 rounds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Medians of 300 and of 41 rounds."""
        return cls(rounds=300, rounds_in_memory=41)


def _in_mode(function: Callable[[Array], Array], mode: str) -> Callable[[Array, Array], Array]:
    def vjp(x: Array, cotangent: Array) -> Array:
        return jax.vjp(function, x)[1](cotangent)[0]

    def hvp(x: Array, tangent: Array) -> Array:
        return jax.jvp(lambda y: vjp(y, jnp.ones_like(y)), (x,), (tangent,))[1]

    return {"forward": lambda x, _: function(x), "vjp": vjp, "hvp": hvp}[mode]


def _bind(program: Callable[..., Array], *arguments: Array) -> Callable[[], Array]:
    compiled: Any = jax.jit(program).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    return lambda: compiled(*arguments)


def _race(
    contestants: Mapping[str, Callable[[], object]], size: int, config: Config, seed: int
) -> np.ndarray:
    """Seconds a call, `[pace, contestant, round]`."""
    rounds, calls = (config.rounds, 20) if size < _SMALL else (config.rounds_in_memory, 2)
    found = race(contestants, rounds, calls, seed)
    return np.array([[found[pace][name] for name in contestants] for pace in PACES])


def _arguments(name: str, dtype: str, size: int, seed: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    x = 4 * generator.standard_normal(size)  # through the middle and into both tails
    x = 1 / (1 + np.exp(-x)) if name == "logit" else x
    return jnp.asarray(x, dtype), jnp.asarray(generator.standard_normal(size), dtype)


def _time_function(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    name, dtype, size = point["function"], point["dtype"], point["size"]
    arguments = _arguments(name, dtype, size, seed)
    contestants = {"copy": _bind(lambda x, c: jnp.copy(x), *arguments)}
    for library in CONTESTANTS[:-1]:
        function = subjects.subject(library, name)
        if function is not None:
            contestants[library] = _bind(_in_mode(function, point["mode"]), *arguments)
    seconds = _race(contestants, size, config, seed)
    return xr.Dataset(
        {"seconds": (("pace", "contestant"), np.median(seconds, axis=-1))},
        coords={"pace": list(PACES), "contestant": list(contestants)},
    )


def _time_forms(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    order, size = point["order"], point["size"]
    x, _ = _arguments("sigmoid", "float32", size, seed)
    chosen = {label: form[order] for label, form in FORMS.items()}
    programs = {label: jax.jit(form) for label, form in chosen.items() if form is not None}
    contestants = {label: _bind(program, x) for label, program in programs.items()}
    seconds = _race(contestants, size, config, seed)
    tried = float32_numbers(0, 2**32 // _STRIDE, _STRIDE)
    ulp = [
        worst(tried, errors("sigmoid", order, tried, np.asarray(program(tried)))).ulp
        for program in programs.values()
    ]
    return xr.Dataset(
        {
            "form_seconds": (("pace", "form"), np.median(seconds, axis=-1)),
            "form_ulp": ("form", np.array(ulp)),
        },
        coords={"pace": list(PACES), "form": list(contestants)},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Races every function in every mode, dtype and size, then the forms of the sigmoid."""
    seed = int(jax.random.bits(key))
    points = [
        {"function": name, "mode": mode, "dtype": dtype, "size": size}
        for size in config.sizes
        for dtype in DTYPES
        for name in FUNCTIONS
        for mode in MODES
    ]
    parts = sweep(points, functools.partial(_time_function, config=config, seed=seed))
    forms = [{"order": order, "size": size} for size in config.sizes for order in range(2)]
    curves = sweep(forms, functools.partial(_time_forms, config=config, seed=seed))
    dataset = gather(points, parts).merge(gather(forms, curves))
    for name in ("seconds", "form_seconds"):
        dataset[name].attrs = {"long_name": "median time of a call", "units": "s"}
    dataset["form_ulp"].attrs = {"long_name": "largest error", "units": "ulp"}
    return dataset


def ratio(dataset: xr.Dataset, contestant: str = "sigjax") -> xr.DataArray:
    """jax's median time over a contestant's."""
    seconds = dataset["seconds"]
    return seconds.sel(contestant="jax") / seconds.sel(contestant=contestant)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The lowest ratio over sizes and dtypes, of each function and mode, at each pace."""
    found = []
    for name in FUNCTIONS:
        for mode, bar in zip(MODES, BARS[name], strict=True):
            for pace in ("pipelined", "processor"):
                part = ratio(dataset).sel(function=name, mode=mode, pace=pace)
                for dtype in DTYPES:
                    found.append(
                        Claim(
                            name=f"{name}, {mode}, {dtype}, {pace}: jax's time over sigjax's, "
                            "the lowest over sizes",
                            source="speed bars of this project; the clock passes no verdict",
                            expected=bar,
                            measured=float(part.sel(dtype=dtype).min()),
                            tolerance=0.0,
                            kind="reported",
                            relation=">=",
                        )
                    )
    return found


def table(dataset: xr.Dataset) -> str:
    """jax's time over sigjax's: forward / vjp / hvp, for every dtype, size and pace."""
    columns = [(dtype, size) for dtype in DTYPES for size in dataset["size"].values]
    head = " | ".join(f"{dtype}, {size:,}" for dtype, size in columns)
    lines = [f"| function | pace | {head} |", "|---" * (2 + len(columns)) + "|"]
    for name in FUNCTIONS:
        for pace in PACES:
            part = ratio(dataset).sel(function=name, pace=pace)
            cells = [
                " / ".join(f"{float(part.sel(dtype=d, size=s, mode=m)):.2f}" for m in MODES)
                for d, s in columns
            ]
            lines.append(f"| {name} | {pace} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(dataset: xr.Dataset) -> Figure:
    """Ratios, bandwidth, and error against time."""
    sizes = dataset["size"].values
    figure, axes = plt.subplots(2, 4, figsize=(19, 11))
    cells = [(dtype, size) for dtype in DTYPES for size in sizes]
    for axis, (dtype, size) in zip(axes[0], cells, strict=False):
        _draw_ratios(axis, dataset.sel(dtype=dtype, size=size))
        axis.set_title(f"{dtype}, {size:,} elements")
    axes[0, 0].legend(loc="lower right")
    _draw_bandwidth(axes[1, 0], dataset.sel(size=sizes[-1], dtype="float32", pace="pipelined"))
    curves = [(sizes[0], 0), (sizes[-1], 0), (sizes[0], 1)]
    for axis, (size, order) in zip(axes[1, 1:], curves, strict=True):
        _draw_curve(axis, dataset.sel(size=size, order=order, pace="processor"))
        what = ("value", "first derivative")[order]
        axis.set_title(f"Sigmoid, {what}, float32, {size:,} elements")
    return figure


def _draw_ratios(axis: Axes, dataset: xr.Dataset) -> None:
    labels = [f"{name}, {mode}" for name in FUNCTIONS for mode in MODES]
    rows = np.arange(len(labels))[::-1]
    bars = [bar for name in FUNCTIONS for bar in BARS[name]]
    for pace, mark in zip(PACES, ("o", "s", "x"), strict=True):
        values = ratio(dataset).sel(pace=pace).transpose("function", "mode").values.ravel()
        axis.plot(values, rows, mark, label=pace, markersize=5)
    axis.plot(bars, rows, "|", color="black", markersize=12, label="aim")
    axis.axvline(1, color="0.5", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.set_yticks(rows, labels)
    axis.set_xlabel("jax's time over sigjax's (right: sigjax is faster)")


def _draw_bandwidth(axis: Axes, dataset: xr.Dataset) -> None:
    rows = np.arange(len(FUNCTIONS))
    copy = dataset["seconds"].sel(contestant="copy", mode="forward")
    for shift, library in zip((-0.2, 0.2), ("sigjax", "jax"), strict=True):
        share = copy / dataset["seconds"].sel(contestant=library, mode="forward")
        axis.bar(rows + shift, share, width=0.38, label=library)
    axis.set_xticks(rows, FUNCTIONS, rotation=20)
    axis.set_ylabel("share of a copy's bandwidth (1)")
    axis.set_title(f"Forward in memory: float32, {int(dataset['size']):,} elements")
    axis.legend()


def _draw_curve(axis: Axes, dataset: xr.Dataset) -> None:
    relative = dataset["form_seconds"] / dataset["form_seconds"].sel(form="jax.nn.sigmoid")
    for label in dataset["form"].values:
        x, y = float(relative.sel(form=label)), float(dataset["form_ulp"].sel(form=label))
        if np.isfinite(x):
            axis.plot(x, y, "o")
            axis.annotate(str(label), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axis.axhline(1, color="0.5", linewidth=1, linestyle="--")
    axis.margins(x=0.35, y=0.15)
    axis.set_yscale("log")
    axis.set_xlabel("processor time over jax.nn's (1)")
    axis.set_ylabel("largest error (ulp)")
