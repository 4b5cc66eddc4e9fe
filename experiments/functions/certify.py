"""Every float32 number: sigmoid, log_sigmoid, softplus, silu, logit and two derivatives of each.

Figure: the largest error among the inputs of each exponent, per function and derivative.

    python -m experiments run certify --preset paper      (or: make certify)

Time on 2 CPU cores: quick (every 8,191st number) 10 s; paper (all 4,294,967,296) 1 hour,
resumable to the chunk. After a change of some kernels, `--functions silu --orders value` tries
what changed alone, and `make publish` puts it in its place in the certificate. It must show at
most 2.5 ulp for the value, 3.5 for the first and 5 for the second derivative, and never 0,
infinity or NaN where the truth is a normal number. The truth is float64
(`experiments/oracle/truth.py`), proved against mpmath to a relative 1e-12.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

import sigjax
from experiments.harness import Claim, Settings, Within, sweep
from experiments.harness.settings import wrong_value
from experiments.oracle import bounds
from experiments.oracle.judge import Worst, errors, worst
from experiments.oracle.subjects import JAX_PEERS, check_names, evaluate_function
from experiments.oracle.ulps import Errors, float32_numbers

# Named one by one, so that a certificate is of these functions and of no other code.
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "sigmoid": sigjax.sigmoid,
    "log_sigmoid": sigjax.log_sigmoid,
    "softplus": sigjax.softplus,
    "silu": sigjax.silu,
    "logit": sigjax.logit,
}
ORDERS = ("value", "first derivative", "second derivative")
_LIBRARIES: dict[str, dict[str, Callable[..., Array]]] = {
    "sigjax": FUNCTIONS,
    "sigjax faithful": {
        name: functools.partial(function, faithful=True) for name, function in FUNCTIONS.items()
    },
    "jax": JAX_PEERS,
}
# One sweep point holds the numbers of eight exponents and one sign: 2^26 of them.
_EXPONENTS_A_POINT = 8
_NUMBERS_AN_EXPONENT = 2**23
_BLOCK = 2**17  # float64 intermediates of this size stay in the cache


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """What is certified."""

    functions: tuple[str, ...] = tuple(FUNCTIONS)
    """Functions whose float32 numbers are all tried."""
    orders: tuple[str, ...] = ORDERS
    """What of a function is held to the truth: value, "first derivative", "second derivative"."""
    stride: Annotated[int, Within(1, _NUMBERS_AN_EXPONENT)] = 8191
    """Distance between the float32 numbers tried, counted in representable numbers."""
    library: str = "sigjax"
    """Library whose functions are certified: sigjax, "sigjax faithful", or jax for comparison."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(self.functions, FUNCTIONS)
        if not self.orders or not set(self.orders) <= set(ORDERS):
            raise wrong_value("orders", f"some of {', '.join(ORDERS)}", ", ".join(self.orders))
        if self.library not in _LIBRARIES:
            raise wrong_value("library", f"one of {', '.join(_LIBRARIES)}", self.library)

    @classmethod
    def quick(cls) -> "Config":
        """A sample: a prime stride, so that all trailing bits occur."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Every number."""
        return cls(stride=1)


def _errors(name: str, order: int, library: str, x: np.ndarray) -> Errors:
    function = _LIBRARIES[library][name]
    blocks = [x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK)]
    parts = [
        errors(name, order, block, evaluate_function(function, order, block), fused=True)
        for block in blocks
    ]
    return Errors(*map(np.concatenate, zip(*parts, strict=True)))


def _one_exponent(name: str, start: int, config: Config) -> dict[str, np.ndarray]:
    first = -(-start // config.stride) * config.stride
    count = max(0, -(-(start + _NUMBERS_AN_EXPONENT - first) // config.stride))
    x = float32_numbers(first, count, config.stride)
    rows: dict[str, list[float]] = {key: [] for key in (*Worst._fields, "above_1")}
    for order in config.orders:
        found = _errors(name, ORDERS.index(order), config.library, x)
        for key, number in worst(x, found)._asdict().items():
            rows[key].append(number)
        rows["above_1"].append(float(np.count_nonzero(found.ulp > 1)))
    rows["tried"] = [count]
    return {key: np.asarray(row, np.float64) for key, row in rows.items()}


def _measure_point(point: Mapping[str, Any], *, config: Config) -> xr.Dataset:
    rows = [
        _one_exponent(point["function"], start, config)
        for start in range(
            point["start"],
            point["start"] + _EXPONENTS_A_POINT * _NUMBERS_AN_EXPONENT,
            _NUMBERS_AN_EXPONENT,
        )
    ]
    arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    return xr.Dataset(
        {
            key: (("exponent",), array[:, 0]) if key == "tried" else (("exponent", "order"), array)
            for key, array in arrays.items()
        }
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Walks through all float32 numbers, an exponent at a time; `key` is not needed."""
    del key
    step = _EXPONENTS_A_POINT * _NUMBERS_AN_EXPONENT
    starts = range(0, 2**32, step)
    points = [{"function": name, "start": start} for name in config.functions for start in starts]
    parts = sweep(points, functools.partial(_measure_point, config=config))
    functions = [
        xr.concat(parts[i * len(starts) : (i + 1) * len(starts)], dim="exponent")
        for i in range(len(config.functions))
    ]
    dataset = xr.concat(functions, dim="function").assign_coords(
        function=list(config.functions),
        order=list(config.orders),
        exponent=np.tile(np.arange(-127, 129, dtype=np.int32), 2),
    )
    dataset["ulp"].attrs = {"long_name": "largest error", "units": "ulp"}
    dataset["worst_input"].attrs = {"long_name": "input with the largest error", "units": "1"}
    dataset.attrs = {"library": config.library, "stride": config.stride}
    return dataset


def largest(dataset: xr.Dataset) -> dict[tuple[str, str], tuple[float, float]]:
    """The largest error of each function and derivative, and its input."""
    table = {}
    for function in dataset["function"].values:
        for order in dataset["order"].values:
            part = dataset.sel(function=function, order=order)
            where = int(np.argmax(part["ulp"].values))
            ulp, at = part["ulp"].values[where], part["worst_input"].values[where]
            table[str(function), str(order)] = (float(ulp), float(at))
    return table


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The bounds, and no wrong zero, infinity or NaN."""
    found = []
    for (function, order), (ulp, at) in largest(dataset).items():
        bound = bounds.FLOAT32_ULP[ORDERS.index(order)]
        found.append(
            Claim(
                name=f"{function}, {order}: largest error, ulp (at {at:.9g})",
                source="float32 bounds of this project",
                expected=bound,
                measured=ulp,
                kind="exact",
                relation="<=",
            )
        )
    found.append(
        Claim(
            name="results that are 0, infinite or NaN where the truth is normal, or the reverse",
            source="float32 promise of this project",
            expected=0.0,
            measured=float(dataset["wrong"].sum()),
            kind="exact",
        )
    )
    first, _ = largest(dataset).get(("sigmoid", ORDERS[1]), (None, None))
    if first is None:
        return found
    found.append(
        Claim(
            name="first derivative of sigmoid, ulp, against the only published figure",
            source="tt-metal pull request #55727: 4 ulp in float32",
            expected=bounds.TT_METAL_ULP["float32"],
            measured=first,
            kind="exact",
            relation="<=",
        )
    )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """The largest error over the exponent of the input, negative inputs dashed."""
    functions = [str(name) for name in dataset["function"].values]
    orders = [str(order) for order in dataset["order"].values]
    figure, axes = plt.subplots(
        len(orders), len(functions), figsize=(15, 8), sharex=True, sharey="row", squeeze=False
    )
    half = dataset.sizes["exponent"] // 2
    for column, function in enumerate(functions):
        for row, order in enumerate(orders):
            axis = axes[row, column]
            bound = bounds.FLOAT32_ULP[ORDERS.index(order)]
            part = dataset["ulp"].sel(function=function, order=order)
            exponent = dataset["exponent"].values
            axis.plot(exponent[:half], part[:half], label="x > 0")
            axis.plot(exponent[half:], part[half:], "--", label="x < 0")
            axis.axhline(bound, color="0.5", linewidth=1, label="bound")
            axis.set_xlim(-40, 8)
            axis.set_ylim(0, 1.05 * bound)
            if row == 0:
                axis.set_title(function)
            if row == len(orders) - 1:
                axis.set_xlabel("exponent of |x| (powers of 2)")
    # Where the second function, log_sigmoid, has room: above its curves and below the bound.
    axes[0, min(1, len(functions) - 1)].legend(loc="upper left", bbox_to_anchor=(0, 0.94))
    for row, order in enumerate(orders):
        axes[row, 0].set_ylabel(f"{order}:\nlargest error (ulp)")
    tried = int(dataset["tried"].sum()) // len(functions)
    figure.suptitle(f"{dataset.attrs['library']}: {tried:,} float32 inputs of each function")
    return figure


def table(dataset: xr.Dataset) -> str:
    """The largest errors in ulp, and where they are."""
    return markdown(largest(dataset))


def markdown(errors: Mapping[tuple[str, str], tuple[float, float]]) -> str:
    """A table of what `largest` gives, a row a function."""
    orders = [order for order in ORDERS if any(order == key[1] for key in errors)]
    lines = ["| function | " + " | ".join(orders) + " |", "|---" * (1 + len(orders)) + "|"]
    for function in dict.fromkeys(function for function, _ in errors):
        found = (errors[function, order] for order in orders)
        cells = [f"{ulp:.3f} at {at:.9g}" for ulp, at in found]
        lines.append(f"| {function} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
