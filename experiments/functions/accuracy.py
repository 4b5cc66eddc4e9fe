"""Errors of functions, losses and their derivatives, beside jax's, optax's and torch's.

Figure: the largest error in ulp, per function, derivative, dtype and library; below, of functions
of several arguments, the worst of all partial derivatives of an order.

    python -m experiments run accuracy

Time on 2 CPU cores: quick 60 s, paper 55 minutes. bfloat16 and float16 are tried on all 65,536
inputs and must be rounded once: at most 0.501 ulp. float32 is sampled (`certify` tries every
number): at most 2.5, 3.5 and 5 ulp for the value and the derivatives, below 1 with
`faithful=True`. float64 is searched against mpmath: at most 3, 4 and 6 ulp, a lower bound of
the truth. Partial derivatives of functions of several arguments and of losses, mixed ones too,
are searched in the same way, by quick in float32 to the first order: 1.5 ulp more are allowed. A
result of 0, infinity or NaN where the truth is a normal number is never allowed.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, Within, gather, reported, sweep
from experiments.harness.style import COLOURS, MEANING
from experiments.oracle import bounds, subjects
from experiments.oracle.judge import Worst, errors, worst
from experiments.oracle.search import search
from experiments.oracle.truth import TRUTHS
from experiments.oracle.ulps import every_16_bit_number, float32_numbers

from . import _joint_accuracy as joint_accuracy

DTYPES = ("bfloat16", "float16", "float32", "float64")
ORDERS = joint_accuracy.ORDERS
# The functions that this project's bounds in float32 and float64 are stated for.
BOUNDED = (
    *("sigmoid", "log_sigmoid", "softplus", "silu", "logit"),
    *("cross_entropy_of_1", "cross_entropy_of_0"),
)


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """How much is tried."""

    functions: tuple[str, ...] = tuple(TRUTHS)
    """Functions of one argument whose errors are measured."""
    float32_stride: int = 16_411
    """Distance between the float32 numbers tried, counted in representable numbers."""
    float64_tries: int = 150
    """Inputs in each round of the search against mpmath."""
    float64_rounds: Annotated[int, Within(0)] = 2
    """Rounds of the float64 search that follow the first, near the worst inputs found."""
    joints: tuple[str, ...] = tuple(joint_accuracy.EVERY)
    """Functions of several arguments, and losses, whose errors are measured."""
    joint_dtypes: tuple[str, ...] = ("float32",)
    """Dtypes in which the functions of several arguments are tried."""
    joint_order: Annotated[int, Within(0, 2)] = 1
    """Highest order, 0 to 2, of the partial derivatives of functions of several arguments."""
    joint_tries: int = 96
    """Points of several arguments in each round of the search against mpmath."""
    joint_rounds: Annotated[int, Within(0)] = 1
    """Rounds of the search over several arguments after the first, near roots and the worst."""

    def __post_init__(self) -> None:
        super().__post_init__()
        subjects.check_names(self.functions, TRUTHS)
        subjects.check_names(self.joints, joint_accuracy.EVERY, "joints")
        subjects.check_names(self.joint_dtypes, DTYPES, "joint_dtypes")

    @classmethod
    def quick(cls) -> "Config":
        """260,000 float32 numbers, 450 in float64, 192 points of several arguments."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Seventy million float32 numbers, 40,000 in float64, 3,000 points in every dtype."""
        return cls(
            float32_stride=61,
            float64_tries=2000,
            float64_rounds=19,
            joint_dtypes=DTYPES,
            joint_order=2,
            joint_tries=1000,
            joint_rounds=2,
        )


def _inputs(dtype: str, config: Config) -> np.ndarray:
    if dtype == "float32":
        return float32_numbers(0, 2**32 // config.float32_stride, config.float32_stride)
    return every_16_bit_number(dtype)


def _of_one_argument(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    library, name, dtype = point["library"], point["function"], point["dtype"]
    rows = []
    orders = range(min(len(TRUTHS[name]), 1 + subjects.highest_order(library, name)))
    for order in orders:
        if dtype == "float64":
            rows.append(
                search(library, name, order, config.float64_tries, config.float64_rounds, seed)
            )
        else:
            x = _inputs(dtype, config)
            rows.append(
                worst(x, errors(name, order, x, subjects.evaluate(library, name, order, x)))
            )
    columns = np.array(rows, np.float64).T
    return xr.Dataset(
        {key: ("order", column) for key, column in zip(Worst._fields, columns, strict=True)},
        coords={"order": [ORDERS[order] for order in orders]},
    )


def _measure_point(point: Mapping[str, Any], *, config: Config, seed: int) -> xr.Dataset:
    if "joint" not in point:
        return _of_one_argument(point, config=config, seed=seed)
    return joint_accuracy.measure_point(
        point,
        order=config.joint_order,
        tries=config.joint_tries,
        rounds=config.joint_rounds,
        seed=seed,
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Tries every function of every library that is here in every dtype, and of several arguments
    those of this project."""
    seed = int(jax.random.bits(key))
    # Function by function: float64 is searched for minutes, and so the time left is told truly.
    single = [
        {"function": name, "library": library, "dtype": dtype}
        for name in config.functions
        for library in subjects.LIBRARIES
        for dtype in DTYPES
        if subjects.has(library, name, dtype)
    ]
    several = [
        {"joint": name, "dtype": dtype} for name in config.joints for dtype in config.joint_dtypes
    ]
    # One sweep, so that its shares, too, are of all points.
    parts = sweep([*single, *several], functools.partial(_measure_point, config=config, seed=seed))
    dataset = gather(single, parts[: len(single)])
    dataset["ulp"].attrs = {"long_name": "largest error", "units": "ulp"}
    dataset["worst_input"].attrs = {"long_name": "input with the largest error", "units": "1"}
    joints = gather(several, parts[len(single) :]).reindex(dtype=list(DTYPES))
    joints["joint_ulp"].attrs = {"long_name": "largest error", "units": "ulp"}
    return dataset.merge(joints)


def _largest(ulp: xr.DataArray) -> tuple[str, float]:
    """Over functions: which, and how much."""
    name = str(ulp["function"].values[int(np.nanargmax(ulp.values))])
    return name, float(ulp.max())


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Rounded once, the bounds, and no wrong zero, infinity or NaN; jax's slope for comparison."""
    found = []
    for dtype in DTYPES:
        for order, ulp64, ulp32 in zip(ORDERS, bounds.FLOAT64_ULP, bounds.FLOAT32_ULP, strict=True):
            part = dataset["ulp"].sel(library="sigjax", dtype=dtype, order=order)
            bound = {"float32": ulp32, "float64": ulp64}.get(dtype, bounds.ROUNDED_ONCE_ULP)
            if dtype in ("float32", "float64"):
                part = part.sel(function=[n for n in part["function"].values if n in BOUNDED])
            if part.size == 0:
                continue
            name, ulp = _largest(part)
            found.append(
                Claim(
                    name=f"{dtype}, {order}: largest error, ulp ({name})",
                    source="accuracy bounds of this project",
                    expected=bound,
                    measured=ulp,
                    kind="exact",
                    relation="<=",
                )
            )
    name, ulp = _largest(
        dataset["ulp"].sel(library="sigjax faithful", dtype="float32").max("order")
    )
    found.append(
        Claim(
            name=f"float32, faithful=True, value and both derivatives: ulp ({name})",
            source="faithful rounding: below 1 ulp",
            expected=1.0,
            measured=ulp,
            kind="exact",
            relation="<=",
        )
    )
    for own in ("sigjax", "sigjax faithful"):
        found.append(
            Claim(
                name=f"{own}: 0, infinity or NaN for a normal truth, or the reverse",
                source="promise of this project",
                expected=0.0,
                measured=float(dataset["wrong"].sel(library=own).sum()),
                kind="exact",
            )
        )
    if "focal_of_1" in dataset["function"]:
        found += _focal(dataset["ulp"].sel(library="sigjax", function="focal_of_1"))
    found += joint_accuracy.claims(dataset)
    if "sigmoid" in dataset["function"]:
        found += _beside_published(dataset["ulp"].sel(function="sigmoid", order=ORDERS[1]))
    return found


def _focal(ulp: xr.DataArray) -> list[Claim]:
    return [
        Claim(
            name=f"focal loss of label 1, {dtype}, {order}: ulp",
            source="the bound that its documentation states",
            expected=bound,
            measured=float(ulp.sel(dtype=dtype, order=order)),
            kind="exact",
            relation="<=",
        )
        for dtype in ("float32", "float64")
        for order, bound in zip(ORDERS, bounds.FOCAL_ULP, strict=False)
    ]


def _beside_published(sigmoid_slope: xr.DataArray) -> list[Claim]:
    found = []
    for dtype, published in bounds.TT_METAL_ULP.items():
        found.append(
            Claim(
                name=f"{dtype}, sigmoid's first derivative, ulp, beside the only published figure",
                source="tt-metal pull request #55727",
                expected=published,
                measured=float(sigmoid_slope.sel(library="sigjax", dtype=dtype)),
                kind="exact",
                relation="<=",
            )
        )
        found.append(
            reported(
                f"{dtype}, first derivative of jax.nn.sigmoid, ulp",
                "measured for comparison",
                float(sigmoid_slope.sel(library="jax", dtype=dtype)),
            )
        )
    return found


def table(dataset: xr.Dataset) -> str:
    """Value / first / second derivative, in ulp, for every dtype, sigjax beside jax."""
    lines = [
        "| function | library | " + " | ".join(DTYPES) + " |",
        "|---|---|" + "---|" * len(DTYPES),
    ]
    for name in dataset["function"].values:
        for library in dataset["library"].values:
            part = dataset["ulp"].sel(function=name, library=library)
            if bool(part.isnull().all()):
                continue
            cells = [
                " / ".join(_cell(float(part.sel(dtype=dtype, order=order))) for order in ORDERS)
                for dtype in DTYPES
            ]
            lines.append(f"| {name} | {library} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n" + joint_accuracy.table(dataset)


def _cell(ulp: float) -> str:
    if np.isnan(ulp):
        return "-"
    return f"{ulp:.4f}" if ulp < 1 else f"{ulp:.2f}" if ulp < 1000 else f"{ulp:.1e}"


def plot(dataset: xr.Dataset) -> Figure:
    """A row a dtype, a column a derivative, a mark a library; lower is better."""
    figure = plt.figure(figsize=(15, 20))
    halves = figure.add_gridspec(2, 1, height_ratios=(13, 7))
    upper, lower = (figure.add_subfigure(halves[row]) for row in range(2))
    axes = upper.subplots(4, 3, sharex=True, sharey="row")
    position = np.arange(dataset.sizes["function"])
    marks = dict(zip(subjects.LIBRARIES, ("o", "D", "x", "+"), strict=True))
    own = MEANING["sigjax"]
    colours = dict(zip(subjects.LIBRARIES, (own, own, MEANING["peer"], COLOURS[1]), strict=True))
    for row, dtype in enumerate(DTYPES):
        bound = {"float32": bounds.FLOAT32_ULP, "float64": bounds.FLOAT64_ULP}.get(
            dtype, 3 * (bounds.ROUNDED_ONCE_ULP,)
        )
        for column, order in enumerate(ORDERS):
            axis = axes[row, column]
            for library in dataset["library"].values:
                ulp = dataset["ulp"].sel(library=library, dtype=dtype, order=order)
                # An exact result has no place on a logarithmic axis: it is drawn at the bottom.
                shown = ulp.clip(min=0.1)
                axis.plot(
                    position,
                    shown,
                    marks[library],
                    color=colours[library],
                    label=library,
                    fillstyle="none",
                )
            axis.axhline(bound[column], color="0.5", linewidth=1, label="bound")
            axis.set_yscale("log")
            whose = "bound" if dtype.endswith("16") else "bound of the core functions"
            axis.set_title(f"{dtype}, {order}: {whose} {bound[column]:g} ulp")
            if row == 3:
                axis.set_xticks(position, dataset["function"].values, rotation=60, ha="right")
        axes[row, 0].set_ylabel("largest error (ulp)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    joint_accuracy.draw(lower.subplots(), dataset)
    return figure
