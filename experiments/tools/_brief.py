"""What README says of long results: five functions, a dtype or two, the most common sizes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import xarray as xr

FUNCTIONS = ("sigmoid", "log_sigmoid", "softplus", "silu", "logit")
ORDERS = ("value", "first derivative", "second derivative")
SIZES = (2**14, 2**18, 2**23)
MODES = ("forward", "vjp", "hvp")


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def accuracy(dataset: xr.Dataset, certified: Mapping[str, Mapping[str, Any]]) -> str:
    """Value / first / second derivative in ulp, of float32 and bfloat16, beside jax's.

    Args:
      dataset: of `accuracy`; in float32 it has tried numbers at even distances.
      certified: what `certify` found over all float32 numbers, by function and order; it stands
        for ours in float32.
    """
    columns = [(d, library) for d in ("float32", "bfloat16") for library in ("sigjax", "jax")]

    def cell(name: str, dtype: str, library: str) -> str:
        ulp = dataset["ulp"].sel(function=name, dtype=dtype, library=library)
        found = {order: float(ulp.sel(order=order)) for order in ORDERS}
        if (dtype, library) == ("float32", "sigjax"):
            found = {order: certified[name][order]["largest_error_ulp"] for order in ORDERS}
        return " / ".join(f"{value:.2g}" for value in found.values())

    rows = ([f"`{name}`", *(cell(name, *column) for column in columns)] for name in FUNCTIONS)
    return _table(["", *(f"{dtype}, {library}" for dtype, library in columns)], rows)


def speed(dataset: xr.Dataset) -> str:
    """jax's time over sigjax's in float32, waiting for each result."""

    def ratio(seconds: xr.DataArray, axis: str) -> float:
        return float(seconds.sel({axis: "jax"}) / seconds.sel({axis: "sigjax"}))

    def cell(name: str, size: int) -> str:
        at = {"function": name, "size": size, "dtype": "float32", "pace": "blocking"}
        seconds = dataset["seconds"].sel(at)
        return " / ".join(f"{ratio(seconds.sel(mode=mode), 'contestant'):.2f}" for mode in MODES)

    def row(name: str) -> list[str]:
        call = ratio(dataset["call_seconds"].sel(called=name), "library")
        return [f"`{name}`", f"{call:.2f}", *(cell(name, size) for size in SIZES)]

    head = ["", "16 numbers, outside `jit`", *(f"{size:,} numbers" for size in SIZES)]
    return _table(head, map(row, FUNCTIONS))


def gates(dataset: xr.Dataset) -> str:
    """How far off a GRU's state is in bfloat16, ours and Flax's, at the shortest time measured."""
    time = int(dataset["time"].values[0])
    error = dataset["state_error"].sel(cell="GRU", time=time)
    ours, theirs = (float(error.sel(narrow=f"{name} bfloat16")) for name in ("sigjax", "flax"))
    return (
        f"In bfloat16 the state of a GRU that is to remember for {time:,} steps is {ours:.2%} off, "
        f"Flax's {theirs:.0%}."
    )
