"""What was measured, as a table, a verdict, a dataset and a figure."""

import dataclasses
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._instrument import Plan
from ._markers import Layer
from ._tap import binned_squares, log10_norm, read
from ._verdict import Row, verdict


class Measured(NamedTuple):
    """The arrays of a report."""

    loss: Array
    parameters: dict[str, dict[str, Array]]
    probes: Any


def parameter_sums(
    layers: dict[str, Layer], parameters: Any, gradients: Any
) -> dict[str, dict[str, Array]]:
    """For each layer the squares of its parameters' gradients, and its kernel's mean square.

    Parameters with more axes than their layer saw belong to a stack of layers: the leading axes
    stay.
    """
    values, slopes = _by_name(parameters), _by_name(gradients)
    found = {}
    for path, layer in layers.items():
        sums: dict[str, Array] = {}
        for name, shape in layer.shapes.items():
            gradient, value = slopes[f"{path}.{name}"], values[f"{path}.{name}"]
            stack = gradient.ndim - len(shape)
            squares = _over_stack(binned_squares, stack)(gradient)
            sums["squares"] = sums.get("squares", jnp.zeros_like(squares)) + squares
            if name == "kernel":
                sums["gain"] = _over_stack(_mean_square_gain, stack)(value)
        if sums:
            found[path] = sums
    return found


def _mean_square_gain(kernel: Array) -> Array:
    """Fan-in times mean square: by how much a layer multiplies a mean square."""
    return jnp.sum(jnp.square(kernel.astype(jnp.float32))) / kernel.shape[-1]


def _over_stack(function: Any, axes: int) -> Any:
    for _ in range(axes):
        function = jax.vmap(function)
    return function


def _by_name(tree: Any) -> dict[str, Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {".".join(_names(path)): leaf for path, leaf in leaves}


def parameter_names(tree: Any) -> list[str]:
    """Such as "blocks.linear.kernel"."""
    return list(_by_name(tree))


def _names(path: Any) -> list[str]:
    return [
        str(getattr(key, "key", getattr(key, "idx", None)))
        for key in path
        if not isinstance(key, jax.tree_util.GetAttrKey)
    ]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GradientReport:
    """A gradient, layer by layer, in the order in which the layers were called.

    Print it for the table and the verdict. It is a pytree of arrays and can be returned from
    `jit`; what it says is there once the arrays are concrete.

    Attributes:
      loss: scalar.
      measured: the arrays as they came from the taps.
      layers, plan, unreached, per_step: what they belong to.
    """

    measured: Measured
    layers: tuple[Layer, ...] = dataclasses.field(metadata={"static": True})
    plan: Plan = dataclasses.field(metadata={"static": True})
    unreached: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    per_step: bool = dataclasses.field(metadata={"static": True})

    @property
    def loss(self) -> Array:
        return self.measured.loss

    @property
    def rows(self) -> list[Row]:
        """One for each layer, or step; see `Row`."""
        return _rows(self)

    @property
    def verdict(self) -> str:
        """What is wrong, in words, and what to do about it."""
        return verdict(self.rows, self.unreached)

    def worst(self, n: int = 1) -> list[Row]:
        """The layers with the smallest gradients, smallest first."""
        return sorted(self.rows, key=lambda row: row.log10_gradient)[:n]

    def __str__(self) -> str:
        from rich.console import Console
        from rich.table import Table

        table = Table(title=f"loss {float(self.loss):.6g}", title_justify="left")
        for heading in _HEADINGS:
            left = heading in ("layer", "kind")
            table.add_column(heading, justify="left" if left else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*_cells(row))
        # Wide enough for every column: a report is read in notebooks and log files too.
        text = io.StringIO()
        Console(file=text, width=200).print(table)
        return f"{text.getvalue()}{self.verdict}\n"

    def to_xarray(self) -> Any:
        """The rows as an `xarray.Dataset` over the dimension `layer`; needs xarray."""
        import xarray

        rows = self.rows
        columns = [f.name for f in dataclasses.fields(Row) if f.name not in ("name", "kind")]
        dataset = xarray.Dataset(
            {
                name: ("layer", np.array([getattr(row, name) for row in rows]))
                for name in columns
                if name not in ("dtype", "activation")
            },
            coords={
                "layer": [row.name for row in rows],
                "kind": ("layer", [row.kind for row in rows]),
                "dtype": ("layer", [row.dtype for row in rows]),
                "activation": ("layer", [row.activation or "" for row in rows]),
            },
            attrs={"verdict": self.verdict, "loss": float(self.loss)},
        )
        for name in ("log10_gradient", "log10_parameter_gradient"):
            dataset[name].attrs["long_name"] = "log10 of the norm of the loss gradient"
        return dataset

    def plot(self) -> Any:
        """Norms over layers as a matplotlib `Figure`; needs matplotlib."""
        from matplotlib.figure import Figure

        rows = self.rows
        figure = Figure(figsize=(max(6, 0.3 * len(rows)), 5), layout="constrained")
        norms, health = figure.subplots(2, sharex=True, height_ratios=(2, 1))
        places = np.arange(len(rows))
        norms.plot(places, [r.log10_gradient for r in rows], "o-", label="at the output")
        norms.plot(
            places, [r.log10_parameter_gradient for r in rows], "s--", label="of the parameters"
        )
        norms.set_ylabel("log10 norm of the gradient (1)")
        norms.legend()
        health.plot(places, [r.saturated for r in rows], "o", label="saturated")
        health.plot(places, [r.dead for r in rows], "x", label="dead")
        health.set_ylabel("share of units (1)")
        health.set_ylim(-0.05, 1.05)
        health.legend()
        health.set_xticks(places, [r.name for r in rows], rotation=90, fontsize=7)
        health.set_xlabel("layer, from input to output")
        return figure


_HEADINGS = (
    "layer", "kind", "gradient", "per element", "ratio to next", "parameters", "RMS of output",
    "saturated", "dead", "smallest",
)  # fmt: skip


def _cells(row: Row) -> Sequence[str]:
    def power(log10: float) -> str:
        if not np.isfinite(log10):
            return "0" if log10 == -np.inf else "-"
        exponent = int(np.floor(log10))
        return f"{10 ** (log10 - exponent):.2f}e{exponent:+d}"

    def share(value: float) -> str:
        return "-" if np.isnan(value) else f"{100 * value:.1f} %"

    return (
        row.name,
        row.kind if row.activation is None else f"{row.kind} + {row.activation}",
        power(row.log10_gradient),
        power(row.log10_gradient_rms),
        "-" if np.isnan(row.ratio) else f"x{row.ratio:.3g}",
        power(row.log10_parameter_gradient),
        power(row.log10_rms),
        share(row.saturated),
        share(row.dead),
        f"{row.smallest:.1e} {row.dtype}",
    )


def _rows(report: GradientReport) -> list[Row]:
    layers = {layer.path: layer for layer in report.layers}
    parameters = jax.device_get(report.measured.parameters)
    probes = jax.device_get(report.measured.probes)
    outputs: dict[str, list[tuple[Any, tuple[int, ...]]]] = {}
    behind: dict[str, tuple[str, Any]] = {}
    for slot, probe, lengths in report.plan.slots(probes):
        if slot.activation is None:
            outputs.setdefault(slot.path, []).append((np.asarray(probe, np.float64), lengths))
        else:
            name, known = behind.get(slot.path, (slot.activation, 0.0))
            behind[slot.path] = name, known + np.asarray(probe, np.float64)
    rows = []
    for path, calls in outputs.items():
        layer, sums = layers[path], parameters.get(path, {})
        for call, (probe, lengths) in enumerate(calls):
            stack = np.ndim(sums["squares"]) - 1 if sums else 0
            kept = len(lengths) if report.per_step else min(stack, len(lengths))
            activation, gate = behind.get(path, (None, np.zeros_like(probe)))
            gate = gate if np.shape(gate) == probe.shape else np.zeros_like(probe)
            loops = tuple(range(kept, len(lengths)))
            probe, gate = probe.sum(loops), gate.sum(loops)
            for step in np.ndindex(lengths[:kept]):
                own = _sums_at(sums, step[:stack])
                name = path + "".join(f"[{i}]" for i in step)
                name += f" (call {call + 1})" if len(calls) > 1 else ""
                rows.append((step, _row(name, layer, probe[step], gate[step], own, activation)))
    ordered = _interleave(rows)
    return _with_ratios(ordered)


def _sums_at(sums: dict[str, Any], step: tuple[int, ...]) -> dict[str, Any]:
    """A stack's sums at one step of the scan over it; members of an ensemble are joined."""
    own = {name: np.asarray(value)[step] for name, value in sums.items()}
    if "squares" in own:
        own["squares"] = own["squares"].reshape(-1, own["squares"].shape[-1]).sum(0)
    if "gain" in own:
        own["gain"] = np.mean(own["gain"])
    return own


def _interleave(rows: list[tuple[tuple[int, ...], Row]]) -> list[Row]:
    """Layers of one stack in the order of the stack: all of its first block, then the second."""
    ordered: list[Row] = []
    pending: list[tuple[tuple[int, ...], int, Row]] = []
    for position, (step, row) in enumerate(rows):
        root = row.name.split(".")[0].split("[")[0]
        if pending and (not step or pending[0][2].name.split(".")[0].split("[")[0] != root):
            ordered += [row for *_, row in sorted(pending, key=lambda entry: entry[:2])]
            pending = []
        if step:
            pending.append((step, position, row))
        else:
            ordered.append(row)
    return ordered + [row for *_, row in sorted(pending, key=lambda entry: entry[:2])]


def _row(
    name: str, layer: Layer, probe: Any, gate: Any, sums: dict[str, Any], activation: str | None
) -> Row:
    found, behind = read(probe), read(gate)

    def share(part: Any, whole: Any) -> float:
        return float(part / whole) if whole else float("nan")

    log10_size = np.log10(found.elements) / 2 if found.elements else 0.0
    squares = sums.get("squares")
    return Row(
        name=name,
        kind=layer.kind,
        activation=activation,
        dtype=layer.dtype,
        log10_gradient=float(found.log10_gradient),
        log10_gradient_rms=float(found.log10_gradient - log10_size),
        log10_parameter_gradient=float("nan") if squares is None else float(log10_norm(squares)),
        log10_rms=float(found.log10_signal - log10_size),
        saturated=share(behind.saturated, behind.gates),
        dead=share(behind.dead, behind.units),
        not_finite=float(found.not_finite),
        smallest=float(jnp.finfo(layer.dtype).smallest_normal),
        ratio=float("nan"),
        slope_square=share(behind.slope_squares, behind.slopes),
        gain=float(sums.get("gain", float("nan"))),
    )


def _with_ratios(rows: list[Row]) -> list[Row]:
    finished = []
    for row, following in itertools.pairwise(rows):
        difference = row.log10_gradient - following.log10_gradient
        ratio = 10**difference if np.isfinite(difference) else float("nan")
        finished.append(dataclasses.replace(row, ratio=float(ratio)))
    return finished + rows[-1:]


def natural(name: str) -> list[Any]:
    """Sort key that puts blocks.10 behind blocks.9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
