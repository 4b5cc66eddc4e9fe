"""Time of the functions, their vjp and hvp, over that of jax.nn's, and what accuracy costs.

Figure: ratios of times, the share of a plain copy's bandwidth, and error against time for
several ways to write the sigmoid.

    python -m experiments run speed

Time on 2 CPU cores: quick 40 s, paper 12 minutes. sigmoid, silu and logit should take no
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
from experiments.harness.stopwatch import PACES, Call, Contestant, contestants, race
from experiments.numerics import subjects
from experiments.numerics.forms import FORMS
from experiments.numerics.judge import errors, worst
from experiments.numerics.ulps import float32_numbers

TIMED = True
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

    functions: tuple[str, ...] = FUNCTIONS
    """Which functions."""
    sizes: tuple[int, ...] = (2**14, 2**23)
    """Elements: in the cache and in memory."""
    rounds: int = 12
    """Timed rounds of arrays that stay in the cache."""
    rounds_in_memory: int = 3
    """Timed rounds of larger arrays."""

    def __post_init__(self) -> None:
        subjects.check_names(self.functions, FUNCTIONS)

    @classmethod
    def quick(cls) -> "Config":
        """Medians of 12 and of 3 rounds."""
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


def _race(running: Mapping[str, Contestant], size: int, config: Config, seed: int) -> np.ndarray:
    """The median seconds of a call, `[pace, contestant]`."""
    rounds, calls = (config.rounds, 20) if size < _SMALL else (config.rounds_in_memory, 2)
    found = race(running, rounds, calls, seed)
    return np.median([[found[pace][name] for name in running] for pace in PACES], axis=-1)


def _arguments(name: str, dtype: str, size: int, seed: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    x = 4 * generator.standard_normal(size)  # through the middle and into both tails
    x = 1 / (1 + np.exp(-x)) if name == "logit" else x
    return jnp.asarray(x, dtype), jnp.asarray(generator.standard_normal(size), dtype)


def _time_function(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    name, dtype, size = point["function"], point["dtype"], point["size"]
    arguments = _arguments(name, dtype, size, seed)
    calls = {}
    for library in CONTESTANTS[:-1]:
        function = subjects.subject(library, name)
        if function is not None and subjects.has(library, name, dtype):
            calls[library] = Call.of(_in_mode(function, point["mode"]), *arguments)
    calls["copy"] = Call.of(lambda x, _: jnp.copy(x), *arguments)
    seconds = _race(contestants(calls), size, config, seed)
    return xr.Dataset(
        {"seconds": (("pace", "contestant"), seconds)},
        coords={"pace": list(PACES), "contestant": list(calls)},
    )


def _time_forms(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    order, size = point["order"], point["size"]
    x, _ = _arguments("sigmoid", "float32", size, seed)
    chosen = {label: form[order] for label, form in FORMS.items()}
    programs = {label: jax.jit(form) for label, form in chosen.items() if form is not None}
    calls = {label: Call.of(program, x) for label, program in programs.items()}
    seconds = _race(contestants(calls), size, config, seed)
    tried = float32_numbers(0, 2**32 // _STRIDE, _STRIDE)
    ulp = [
        worst(tried, errors("sigmoid", order, tried, np.asarray(program(tried)))).ulp
        for program in programs.values()
    ]
    return xr.Dataset(
        {
            "form_seconds": (("pace", "form"), seconds),
            "form_ulp": ("form", np.array(ulp)),
        },
        coords={"pace": list(PACES), "form": list(calls)},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Races every function in every mode, dtype and size, then the forms of the sigmoid."""
    seed = int(jax.random.bits(key))
    points = [
        {"function": name, "mode": mode, "dtype": dtype, "size": size}
        for size in config.sizes
        for dtype in DTYPES
        for name in config.functions
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
    for name in dataset["function"].values:
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
    for name in dataset["function"].values:
        for pace in PACES:
            part = ratio(dataset).sel(function=name, pace=pace)
            cells = [
                " / ".join(f"{float(part.sel(dtype=d, size=s, mode=m)):.2f}" for m in MODES)
                for d, s in columns
            ]
            lines.append(f"| {name} | {pace} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(dataset: xr.Dataset) -> Figure:
    """Ratios in the upper row; bandwidth, and error against time, in the lower."""
    sizes = dataset["size"].values
    figure = plt.figure(figsize=(17, 13))
    rows: Any = figure.subfigures(2, 1, height_ratios=(3, 2))
    upper, lower = rows
    cells = [(dtype, size) for dtype in DTYPES for size in (sizes[0], sizes[-1])]
    axes = upper.subplots(1, 4, sharey=True)
    for axis, (dtype, size) in zip(axes, cells, strict=True):
        _draw_ratios(axis, dataset.sel(dtype=dtype, size=size))
        axis.set_title(f"{dtype}, {size:,} elements")
    handles, labels = axes[0].get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    bandwidth, *curves = lower.subplots(1, 4)
    _draw_bandwidth(bandwidth, dataset.sel(size=sizes[-1], dtype="float32", pace="pipelined"))
    chosen = [(sizes[0], 0), (sizes[-1], 0), (sizes[0], 1)]
    for axis, (size, order) in zip(curves, chosen, strict=True):
        _draw_curve(axis, dataset.sel(size=size, order=order, pace="processor"))
        what = ("value", "first derivative")[order]
        axis.set_title(f"sigmoid, float32, {size:,} elements:\n{what}")
    handles, labels = curves[0].get_legend_handles_labels()
    lower.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _draw_ratios(axis: Axes, dataset: xr.Dataset) -> None:
    functions = dataset["function"].values
    names = [f"{name}, {mode}" for name in functions for mode in MODES]
    rows = np.arange(len(names))[::-1]
    bars = [bar for name in functions for bar in BARS[name]]
    for pace, mark in zip(PACES, ("o", "s", "x"), strict=True):
        values = ratio(dataset).sel(pace=pace).transpose("function", "mode").values.ravel()
        axis.plot(values, rows, mark, label=pace, fillstyle="none")
    axis.plot(bars, rows, "|", color="black", markersize=14, label="aim")
    axis.axvline(1, color="0.5", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.set_yticks(rows, names)
    axis.set_xlabel("jax's time over sigjax's\n(right of 1: sigjax is faster)")


def _draw_bandwidth(axis: Axes, dataset: xr.Dataset) -> None:
    rows = np.arange(dataset.sizes["function"])
    # It ran beside every function: one unlucky race must not stand for the memory's speed.
    copy = dataset["seconds"].sel(contestant="copy").median(("function", "mode"))
    highest = 1.0
    for shift, library in zip((-0.2, 0.2), ("sigjax", "jax"), strict=True):
        share = copy / dataset["seconds"].sel(contestant=library, mode="forward")
        axis.bar(rows + shift, share, width=0.38, label=library)
        highest = max(highest, float(share.max()))
    axis.set_xticks(rows, dataset["function"].values, rotation=30)
    axis.set_ylabel("share of a copy's bandwidth (1)")
    axis.set_ylim(0, 1.3 * highest)  # room for the legend
    axis.set_title(f"forward, float32,\n{int(dataset['size']):,} elements")
    axis.legend(loc="upper right", ncols=2)


def _draw_curve(axis: Axes, dataset: xr.Dataset) -> None:
    relative = dataset["form_seconds"] / dataset["form_seconds"].sel(form="jax.nn.sigmoid")
    marks = ("o", "s", "^", "v", "D", "P", "X")
    for label, mark in zip(dataset["form"].values, marks, strict=True):
        time, ulp = relative.sel(form=label), dataset["form_ulp"].sel(form=label)
        axis.plot(time, ulp, mark, label=label, fillstyle="none", markersize=8)
    axis.axhline(1, color="0.5", linewidth=1, linestyle="--")
    axis.set_yscale("log")
    axis.set_xlabel("processor time over jax.nn's (1)")
    axis.set_ylabel("largest error (ulp; dashed: faithful)")
