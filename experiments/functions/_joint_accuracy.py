"""The part of the experiment `accuracy` on functions of several arguments and losses.

Every partial derivative, mixed ones too, has an error and a worst input; tables, claims and the
panel show the worst of each order.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.harness import Claim
from experiments.oracle import bounds
from experiments.oracle.joints import JOINTS
from experiments.oracle.loss_joints import LOSS_JOINTS
from experiments.oracle.partials import Orders, hunt, multi_indices

EVERY = JOINTS | LOSS_JOINTS
ORDERS = ("value", "first derivative", "second derivative")
_FULL = 1.0  # an error as large as its bound


def measure_point(
    point: Mapping[str, Any], *, order: int, tries: int, rounds: int, seed: int
) -> xr.Dataset:
    """Hunts for the worst errors of one function in one dtype, up to an order."""
    joint, dtype = EVERY[point["joint"]], point["dtype"]
    orders = multi_indices(joint.arguments, order)
    found = hunt(joint, dtype, tries, rounds, seed=seed, orders=orders)
    worst = [found[each] for each in orders]
    return xr.Dataset(
        {
            "joint_ulp": ("partial", np.array([each.ulp for each in worst])),
            "joint_wrong": ("partial", np.array([each.wrong for each in worst], np.float64)),
            "joint_worst_input": (
                ("partial", "argument"),
                np.array([each.inputs for each in worst], np.float64),
            ),
        },
        coords={"partial": [label(each) for each in orders], "argument": range(joint.arguments)},
    )


def label(orders: Orders) -> str:
    """A multi-index as it is stored: "1,0,1"."""
    return ",".join(map(str, orders))


class Worst(NamedTuple):
    """Of all partial derivatives of one order of one function in one dtype.

    Attributes:
      ulp: the largest error; NaN where nothing was tried.
      partial: of which derivative it is.
      inputs: where.
    """

    ulp: float
    partial: str
    inputs: tuple[float, ...]


def worst(dataset: xr.Dataset, joint: str, dtype: str, order: int) -> Worst:
    """The largest error of an order."""
    tried = set(map(str, dataset["partial"].values))
    orders = [each for each in multi_indices(EVERY[joint].arguments) if sum(each) == order]
    partials = [name for name in map(label, orders) if name in tried]
    part = dataset.sel(joint=joint, dtype=dtype, partial=partials)
    ulp = part["joint_ulp"].values
    if np.isnan(ulp).all():  # of nothing, too
        return Worst(float("nan"), "", ())
    where = int(np.nanargmax(ulp))
    inputs = part["joint_worst_input"].values[where, : EVERY[joint].arguments]
    return Worst(float(ulp[where]), partials[where], tuple(map(float, inputs)))


def _cells(dataset: xr.Dataset) -> Iterator[tuple[str, int, dict[str, Worst]]]:
    """Each dtype and order that was tried, with the worst of every function."""
    for dtype in map(str, dataset["dtype"].values):
        for order in range(len(ORDERS)):
            found = {str(n): worst(dataset, n, dtype, order) for n in dataset["joint"].values}
            if not all(np.isnan(each.ulp) for each in found.values()):
                yield dtype, order, found


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Every partial derivative of every function within the bound of its order and dtype."""
    found = []
    for dtype, order, cells in _cells(dataset):
        name = max(cells, key=lambda each: np.nan_to_num(cells[each].ulp, nan=-1.0))
        ulp, partial, _ = cells[name]
        found.append(
            Claim(
                name=f"several arguments, {dtype}, {ORDERS[order]}: largest error, ulp "
                f"({name}, derivative {partial})",
                source="accuracy bounds of this project: 1.5 ulp more than for one argument",
                expected=bounds.JOINT_ULP[dtype][order],
                measured=ulp,
                kind="exact",
                relation="<=",
            )
        )
    found.append(
        Claim(
            name="several arguments: 0, infinity or NaN for a normal truth, or the reverse",
            source="promise of this project",
            expected=0.0,
            measured=float(dataset["joint_wrong"].sum()),
            kind="exact",
        )
    )
    return found


def table(dataset: xr.Dataset) -> str:
    """Value / first / second derivative in ulp for every dtype, and float32's worst inputs."""
    dtypes = [str(dtype) for dtype in dataset["dtype"].values]
    at = "float32" if "float32" in dtypes else dtypes[0]
    lines = [
        f"| function of several arguments | {' | '.join(dtypes)} | worst in {at}: derivative at |",
        "|---" * (2 + len(dtypes)) + "|",
    ]
    for name in map(str, dataset["joint"].values):
        rows = {
            dtype: [worst(dataset, name, dtype, order) for order in range(len(ORDERS))]
            for dtype in dtypes
        }
        cells = [" / ".join(_number(each.ulp) for each in rows[dtype]) for dtype in dtypes]
        places = [
            f"({each.partial}) at ({', '.join(f'{x:.9g}' for x in each.inputs)})"
            for each in rows[at]
            if each.inputs
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {'; '.join(places) or '-'} |")
    return "\n".join(lines)


def _number(ulp: float) -> str:
    return "-" if np.isnan(ulp) else f"{ulp:.4f}" if ulp < 1 else f"{ulp:.2f}"


def draw(axis: Axes, dataset: xr.Dataset) -> None:
    """A row a function, a column a dtype and order; the colour is the share of the bound."""
    columns = list(_cells(dataset))
    names = [str(name) for name in dataset["joint"].values]
    ulp = np.array([[cells[name].ulp for _, _, cells in columns] for name in names])
    promised = np.array([bounds.JOINT_ULP[dtype][order] for dtype, order, _ in columns])
    mesh = axis.imshow(ulp / promised, cmap="YlOrRd", vmin=0.0, vmax=_FULL, aspect="auto")
    for (row, column), number in np.ndenumerate(ulp):
        dark = number > 0.7 * promised[column]
        axis.text(
            column, row, f"{number:.2f}", ha="center", va="center", color="w" if dark else "k"
        )
    axis.set_xticks(
        range(len(columns)),
        [
            f"{dtype}\n{ORDERS[order]}\nbound {bound:g} ulp"
            for (dtype, order, _), bound in zip(columns, promised, strict=True)
        ],
        fontsize="small",
    )
    axis.set_yticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    axis.tick_params(length=0)
    axis.grid(False)
    axis.set_title("functions of several arguments and losses: worst partial derivative, ulp")
    plt.colorbar(mesh, ax=axis, label="error over its bound", extend="max", pad=0.01)
