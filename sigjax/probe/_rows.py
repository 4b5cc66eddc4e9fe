"""The numbers of a report as a table: one row for each layer."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from ._plan import Site
from ._reading import Reading, places
from ._tap import Statistics


@dataclasses.dataclass(frozen=True)
class Row:
    r"""One layer.

    Attributes:
      name: its path in the model, with its place in a stack or loop.
      kind: its class.
      activation: the sigmoid, tanh or relu that follows, if one was seen; "router" for sigmoids
        of which the largest are chosen.
      dtype: of its output.
      log10_gradient: log10 of the norm of the loss's gradient at its output; NaN where only its
        parameters could be measured.
      log10_gradient_rms: the same for one element, root mean square.
      log10_parameter_gradient: log10 of the norm of the gradient of its own parameters.
      log10_parameter: log10 of the norm of its own parameters.
      log10_rms: log10 of the root mean square of its output.
      saturated: share of the activation's outputs within 1 % of a bound; NaN without bounds.
      dead: share of units that the ReLU behind it holds at 0 for the whole batch.
      not_finite: whether its output or gradient holds an infinity or NaN.
      subnormal: share of the gradient's elements, of those that are not 0, below float16's smallest
        normal number; NaN for other dtypes.
      smallest: smallest normal number of the dtype.
      ratio: its gradient's norm over the next row's.
      slope_square: mean square of the activation's slope, $\mathrm{E}\,\phi'^2$.
      gain: its kernel's fan-in times mean square, $\sigma_w^2$.
      node: its call's number in the report's graph; -1 if there is none.
    """

    name: str
    kind: str
    activation: str | None = None
    dtype: str = "float32"
    log10_gradient: float = math.nan
    log10_gradient_rms: float = math.nan
    log10_parameter_gradient: float = math.nan
    log10_parameter: float = math.nan
    log10_rms: float = math.nan
    saturated: float = math.nan
    dead: float = math.nan
    not_finite: bool = False
    subnormal: float = math.nan
    smallest: float = math.nan
    ratio: float = math.nan
    slope_square: float = math.nan
    gain: float = math.nan
    node: int = -1


# With fewer examples a unit may be 0 for all of them by chance.
FEWEST_EXAMPLES = 8


def rows_of(reading: Reading) -> list[Row]:
    """The rows in the order of the calls; layers that only their parameters tell of come last."""
    plan = reading.facts.plan
    behind: dict[str, list[int]] = {}
    for index, site in enumerate(plan.sites):
        if site.kind == "activation":
            behind.setdefault(site.layers[0], []).append(index)
    calls: dict[str, int] = {}
    outputs = [(i, site) for i, site in enumerate(plan.sites) if site.kind == "output"]
    for _, site in outputs:
        calls[site.layers[0]] = calls.get(site.layers[0], 0) + 1
    seen: dict[str, int] = {}
    rows: list[tuple[tuple[int, ...], Row]] = []
    for index, site in outputs:
        path = site.layers[0]
        seen[path] = seen.get(path, 0) + 1
        suffix = f" (call {seen[path]})" if calls[path] > 1 else ""
        rows += _of_site(reading, index, site, behind.get(path, []), suffix)
    ordered = _interleave(rows)
    shown = {site.layers[0] for _, site in outputs}
    for owner in reading.owned:
        if owner not in shown:
            own = _parameters(reading, owner, ())
            ordered.append(Row(name=owner or "(root)", kind="parameters", **own))
    return _with_ratios(ordered)


def _of_site(
    reading: Reading, index: int, site: Site, behind: list[int], suffix: str
) -> Iterator[tuple[tuple[int, ...], Row]]:
    layer = reading.facts.plan.graph.nodes[site.node].layer
    values = reading.sites[index]
    measured = reading.statistics(index)
    for step in places(values.shape[:-1]):
        found = Statistics(*(one[step] for one in measured))
        size = np.log10(found.elements) / 2 if found.elements else 0.0
        place = "".join(f"[{i}]" for i in step)
        yield (
            step,
            Row(
                name=f"{layer.path}{place}{suffix}",
                kind=layer.kind,
                dtype=site.dtype,
                log10_gradient=float(found.log10_gradient),
                log10_gradient_rms=float(found.log10_gradient - size),
                log10_rms=float(found.log10_signal - size),
                not_finite=not (found.finite_gradient and found.finite_signal),
                subnormal=_share(found.subnormal, found.nonzero),
                smallest=float(jnp.finfo(site.dtype).smallest_normal),
                node=site.node,
                **_parameters(reading, layer.path, step),
                **_activation(reading, behind, values.shape[:-1], step),
            ),
        )


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else math.nan


def _parameters(reading: Reading, owner: str, step: tuple[int, ...]) -> dict[str, Any]:
    gradients: list[float] = []
    values: list[float] = []
    gain = math.nan
    for index, parameter in reading.owned.get(owner, []):
        own = step[: parameter.layers]
        gradients += np.ravel(reading.gradients[index][own]).tolist()
        sizes = np.ravel(reading.values[index][own]).tolist()
        values += sizes
        if parameter.use == "kernel" and parameter.fan_in:
            squares = np.mean(10.0 ** (2 * np.array(sizes)))
            gain = float(squares * parameter.fan_in / math.prod(parameter.shape))
    if not gradients:
        return {}
    return {
        "log10_parameter_gradient": _joined(gradients),
        "log10_parameter": _joined(values),
        "gain": gain,
    }


def _joined(log10_norms: list[float]) -> float:
    """log10 of the norm of everything together."""
    highest = max(log10_norms)
    if not all(x < math.inf for x in log10_norms):  # some are infinite or NaN
        return float(np.max(log10_norms))
    if highest == -math.inf:
        return highest
    return highest + math.log10(sum(10 ** (2 * (x - highest)) for x in log10_norms)) / 2


def _activation(
    reading: Reading, behind: list[int], loops: tuple[int, ...], step: tuple[int, ...]
) -> dict[str, Any]:
    sites = [reading.facts.plan.sites[i] for i in behind]
    if not sites:
        return {}
    name, depth = sites[0].name, len(loops)
    found = [
        (site, value[step])
        for site, value in zip(sites, (reading.sites[i] for i in behind), strict=True)
        if site.name == name and value.shape[:depth] == loops
    ]
    if not found:
        return {}
    size: float = sum(reading.elements(site) for site, _ in found)
    dead = saturated = math.nan
    if name == "relu":
        slopes = float(sum(np.sum(value, dtype=np.float64) for _, value in found))
        if len({value.shape for _, value in found}) == 1:
            # A unit that works in one of several calls is not dead.
            active = np.sum([value[0] for _, value in found], axis=0)
            dead = float(np.mean(active == 0)) if size >= FEWEST_EXAMPLES * active.size else dead
    else:
        counts = np.sum([np.sum(value, -1, dtype=np.float64) for _, value in found], axis=0)
        size = float(counts[2])  # of the rows that were looked at
        saturated, slopes = _share(counts[0], size), float(counts[1])
    return {
        "activation": name,
        "saturated": saturated,
        "dead": dead,
        "slope_square": _share(slopes, size),
    }


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


def _with_ratios(rows: list[Row]) -> list[Row]:
    finished = []
    for row, following in itertools.pairwise(rows):
        difference = row.log10_gradient - following.log10_gradient
        ratio = 10**difference if np.isfinite(difference) else math.nan
        finished.append(dataclasses.replace(row, ratio=float(ratio)))
    return finished + rows[-1:]
