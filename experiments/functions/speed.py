"""Time of the functions, their vjp and hvp, over that of jax.nn's, and what accuracy costs.

Figure: ratios of times for arrays from 1,024 to 8 million elements, bars from the first quartile of
the rounds' ratios to the third; of calls outside `jit`, and
of tracing and compiling; the share of a plain copy's bandwidth; and error against time for
several ways to write the sigmoid.

    python -m experiments run speed
    taskset -c 0 python -m experiments run speed --force      (on one core)

Time on 2 CPU cores: quick 60 s, paper 8 minutes. sigmoid, silu and logit should take no
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
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, gather, reported, sweep
from experiments.harness.stopwatch import PACES, Call, Contestant, contestants, race
from experiments.oracle import subjects
from experiments.oracle.judge import errors, worst
from experiments.oracle.ulps import float32_numbers

from . import _lightness as lightness
from . import _speed_panels as panels
from ._forms import FORMS, Form
from ._speed_panels import light_ratios, ratio

TIMED = True
FUNCTIONS = ("sigmoid", "silu", "logit", "softplus", "log_sigmoid")
MODES = ("forward", "vjp", "hvp")
DTYPES = ("float32", "bfloat16")
CONTESTANTS = ("sigjax", "sigjax faithful", "jax", "copy")
QUARTILES = (0.25, 0.75)
# What this project aims at: jax's time over sigjax's, per mode.
_NO_SLOWER, _BETTER_RULE = (0.97, 0.97, 0.97), (1.0, 1.7, 2.0)
BARS = {
    name: _BETTER_RULE if name in ("softplus", "log_sigmoid") else _NO_SLOWER for name in FUNCTIONS
}
# jax's time over sigjax's of calls outside jit, tracing and compiling: no slower, with a tenth for
# the clock.
LIGHT = 0.9
_SOURCE = "speed aims of this project; the clock passes no verdict"
_IN_CACHE = 2**20  # fewer elements than this stay in the cache
_ELEMENTS_A_TIMING = 2**19  # calls on small arrays are timed together
_STRIDE = 4099  # of the float32 numbers that the forms' errors are taken over


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Sizes, and how often each contestant runs."""

    functions: tuple[str, ...] = FUNCTIONS
    """Functions that are timed."""
    sizes: tuple[int, ...] = (2**10, 2**14, 2**18, 2**23)
    """Numbers of elements of the timed arrays: in the nearest caches and in memory."""
    rounds: int = 12
    """Timed rounds of arrays that stay in the cache."""
    rounds_in_memory: int = 3
    """Timed rounds of larger arrays."""
    rounds_of_preparation: int = 5
    """How often the unrolled layers and the model are traced and compiled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        subjects.check_names(self.functions, FUNCTIONS)

    @classmethod
    def quick(cls) -> "Config":
        """Three sizes; medians of 8 and of 3 rounds; traced and compiled once."""
        return cls(sizes=(2**14, 2**18, 2**23), rounds=8, rounds_of_preparation=1)

    @classmethod
    def paper(cls) -> "Config":
        """Medians of 100, of 41 and of 15 rounds."""
        return cls(rounds=100, rounds_in_memory=41, rounds_of_preparation=15)


def _in_mode(function: Callable[[Array], Array], mode: str) -> Callable[[Array, Array], Array]:
    def vjp(x: Array, cotangent: Array) -> Array:
        return jax.vjp(function, x)[1](cotangent)[0]

    def hvp(x: Array, tangent: Array) -> Array:
        return jax.jvp(lambda y: vjp(y, jnp.ones_like(y)), (x,), (tangent,))[1]

    return {"forward": lambda x, _: function(x), "vjp": vjp, "hvp": hvp}[mode]


def _race(running: Mapping[str, Contestant], size: int, config: Config, seed: int) -> np.ndarray:
    """The seconds of a call, `[pace, contestant, round]`."""
    rounds = config.rounds if size < _IN_CACHE else config.rounds_in_memory
    calls = min(20, max(2, _ELEMENTS_A_TIMING // size))
    found = race(running, rounds, calls, seed)
    return np.array([[found[pace][name] for name in running] for pace in PACES])


def _arguments(name: str, dtype: str, size: int, seed: int) -> tuple[Array, Array]:
    return _drawn(name == "logit", dtype, size, seed)


@functools.lru_cache(maxsize=2)  # to draw eight million numbers takes as long as to time a call
def _drawn(probabilities: bool, dtype: str, size: int, seed: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    x = 4 * generator.standard_normal(size)  # through the middle and into both tails
    x = 1 / (1 + np.exp(-x)) if probabilities else x
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
    # What slows a whole round down leaves the ratio within it as it is.
    ratios = seconds[:, [list(calls).index("jax")]] / seconds
    return xr.Dataset(
        {
            "seconds": (("pace", "contestant"), np.median(seconds, axis=-1)),
            "ratio_quartile": (
                ("quartile", "pace", "contestant"),
                np.quantile(ratios, QUARTILES, axis=-1),
            ),
        },
        coords={"pace": list(PACES), "contestant": list(calls), "quartile": list(QUARTILES)},
    )


def _time_forms(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    order, size = point["order"], point["size"]
    x, _ = _arguments("sigmoid", "float32", size, seed)
    chosen = {label: form for label, both in FORMS.items() if (form := both[order]) is not None}
    calls = {label: Call.of(form, x) for label, form in chosen.items()}
    seconds = _race(contestants(calls), size, config, seed)
    ulp = [_form_ulp(form, order) for form in chosen.values()]
    return xr.Dataset(
        {
            "form_seconds": (("pace", "form"), np.median(seconds, axis=-1)),
            "form_ulp": ("form", np.array(ulp)),
        },
        coords={"pace": list(PACES), "form": list(calls)},
    )


@functools.cache
def _form_ulp(form: Form, order: int) -> float:
    """The largest error of a form, over one float32 number in thousands."""
    tried = float32_numbers(0, 2**32 // _STRIDE, _STRIDE)
    found = np.asarray(jax.jit(form)(tried))
    return float(worst(tried, errors("sigmoid", order, tried, found)).ulp)


def _time_preparation(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    name = point["program"]
    if name == lightness.MODEL:
        return lightness.model(config.rounds_of_preparation, seed)
    return lightness.unrolled(name, config.rounds_of_preparation, seed)


def _time_outside_jit(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    return lightness.outside_jit(point["called"], config.rounds, seed)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Races every function in every mode, dtype and size, the forms of the sigmoid, calls outside
    `jit`, and last what clears JAX's caches: tracing and compiling."""
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
    called = [{"called": name} for name in lightness.FUNCTIONS]
    calls = sweep(called, functools.partial(_time_outside_jit, config=config, seed=seed))
    programs = [{"program": name} for name in (*lightness.ACTIVATIONS, lightness.MODEL)]
    prepared = sweep(programs, functools.partial(_time_preparation, config=config, seed=seed))
    dataset = dataset.merge(gather(called, calls)).merge(gather(programs, prepared))
    for name in ("seconds", "form_seconds", "call_seconds", "grad_seconds", "step_seconds"):
        dataset[name].attrs = {"long_name": "median time of a call", "units": "s"}
    for name, what in (("trace_seconds", "trace and lower"), ("compile_seconds", "compile")):
        dataset[name].attrs = {"long_name": f"median time to {what} a program", "units": "s"}
    dataset["ratio_quartile"].attrs = {"long_name": "jax's time over a contestant's", "units": "1"}
    dataset["form_ulp"].attrs = {"long_name": "largest error", "units": "ulp"}
    return dataset


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The lowest ratio over sizes and dtypes, of each function and mode, at each pace."""
    found = []
    for name in dataset["function"].values:
        for mode, bar in zip(MODES, BARS[name], strict=True):
            for pace in ("pipelined", "processor"):
                part = ratio(dataset).sel(function=name, mode=mode, pace=pace)
                for dtype in DTYPES:
                    found.append(
                        reported(
                            f"{name}, {mode}, {dtype}, {pace}: jax's time over sigjax's, "
                            "the lowest over sizes",
                            _SOURCE,
                            float(part.sel(dtype=dtype).min()),
                            aim=bar,
                        )
                    )
    return found + [
        reported(f"{what}: jax's time over sigjax's", _SOURCE, float(value), aim=LIGHT)
        for what, value in light_ratios(dataset)
    ]


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
    lines += ["", "| besides the arithmetic | jax's time over sigjax's |", "|---|---|"]
    lines += [f"| {what} | {value:.2f} |" for what, value in light_ratios(dataset)]
    return "\n".join(lines)


def plot(dataset: xr.Dataset) -> Figure:
    """Ratios over size, a row a dtype; calls and preparation; bandwidth, and error against time."""
    sizes, functions = dataset["size"].values, dataset["function"].values
    figure = plt.figure(figsize=(15, 15))
    rows: Any = figure.subfigures(4, 1, height_ratios=(4, 4, 3.2, 4))
    for row, dtype in zip(rows[:2], DTYPES, strict=True):
        axes = np.atleast_1d(row.subplots(1, len(functions), sharey=True))
        for axis, name in zip(axes, functions, strict=True):
            panels.draw_ratios(axis, dataset.sel(dtype=dtype, function=name), BARS[name])
            axis.set_title(f"{name}, {dtype}")
        axes[0].set_ylabel("jax's time over sigjax's\n(above 1: sigjax is faster)")
        handles, labels = axes[0].get_legend_handles_labels()
        row.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    called, prepared = rows[2].subplots(1, 2)
    panels.draw_light(called, dataset, "called", {"call": "call", "grad": "gradient"}, LIGHT)
    called.set_title(f"outside jit, {lightness.ELEMENTS} numbers")
    stages = {"trace": "trace and lower", "compile": "compile", "step": "step"}
    panels.draw_light(prepared, dataset, "program", stages, LIGHT)
    prepared.set_title(f"{lightness.LAYERS} layers unrolled, and a model, with their gradients")
    bandwidth, *curves = rows[3].subplots(1, 4)
    panels.draw_bandwidth(bandwidth, dataset.sel(size=sizes[-1], dtype="float32", pace="pipelined"))
    chosen = [(sizes[len(sizes) // 2 - 1], 0), (sizes[-1], 0), (sizes[len(sizes) // 2 - 1], 1)]
    for axis, (size, order) in zip(curves, chosen, strict=True):
        panels.draw_curve(axis, dataset.sel(size=size, order=order, pace="processor"))
        what = ("value", "first derivative")[order]
        axis.set_title(f"sigmoid, float32, {size:,} elements:\n{what}")
    handles, labels = curves[0].get_legend_handles_labels()
    rows[3].legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure
