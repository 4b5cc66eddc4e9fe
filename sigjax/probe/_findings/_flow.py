"""How the gradient changes along the depth: jumps at single layers, and steady rates."""

import dataclasses
import itertools
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from .._graph import Graph, chains, post_dominators
from .._reading import Reading, places
from .._rows import Row
from ._kinds import Finding, power

# A gradient that loses this much on the way is called vanishing, one that gains it exploding: the
# optimiser's single step size no longer suits first and last layer.
_DECADES = 2.0
# Weights that are a hundredfold of what is usual are no initialisation's choice; 30-fold ones are.
_ODD = 2.0
# Fewer layers have no rate.
_FEWEST = 4
# Fewer layers of a kind do not say what is usual for it.
_FEW = 3
# Of the steps along the depth, so many go in the same direction where there is a rate.
_STEADY = 0.7

_REMEDIES = {
    "sigmoid": (
        "Use tanh or ReLU with `sigjax.initializers.critical`, normalisation or residual links: a "
        "logistic layer multiplies the gradient by at most a quarter of its weights' norm."
    ),
    "tanh": "Use `sigjax.initializers.critical(jnp.tanh)` for the kernels, or residual links.",
    "relu": "Use He's weights (`sigjax.initializers.critical(jax.nn.relu)`), or residual links.",
}
_ELSE = "Use critical weights (`sigjax.initializers.critical`), normalisation or residual links."


def flow(reading: Reading, rows: Sequence[Row]) -> tuple[list[Finding], list[Finding]]:
    """Findings of single layers, and of the whole depth."""
    jumps = list(_jumps(reading, rows))
    odd = {finding.layers[0] for finding in jumps}
    return jumps, _rates(reading, rows, odd)


def _jumps(reading: Reading, rows: Sequence[Row]) -> Iterator[Finding]:
    """Layers whose weights are far from those of their kind, if what follows does not undo it."""
    for name, size, odd in _odd_weights(reading):
        if _is_normalised(reading.facts.plan.graph, rows, name, odd):
            continue
        factor = "x" + power(odd)
        yield Finding(
            "jump",
            (name,),
            f"The weights of {name} (root mean square {power(size)}) are {factor} what is usual "
            "for a layer of its kind and size, and so is the step that the gradient makes there.",
            "Initialise this layer as the others, or look for what scaled it.",
        )


def _odd_weights(reading: Reading) -> Iterator[tuple[str, float, float]]:
    """Layer, log10 of its weights' RMS, and by how many decades that is off."""
    sizes: dict[str, list[float]] = {}
    found: list[tuple[str, str, float, int]] = []
    for index, parameter in enumerate(reading.facts.parameters):
        if parameter.use not in ("kernel", "scale") or not parameter.is_reached:
            continue
        kind = re.sub(r"\d+", "#", parameter.name)  # the same place in another block
        values = np.asarray(reading.values[index]) - math.log10(math.prod(parameter.shape)) / 2
        owner = parameter.owner or parameter.name
        for step in places(values.shape):
            if math.isfinite(values[step]):
                name = owner + "".join(f"[{i}]" for i in step)
                found.append((name, kind, float(values[step]), parameter.fan_in))
                sizes.setdefault(kind, []).append(float(values[step]))
    for name, kind, size, fan_in in found:
        alike = sizes[kind]
        from_others = size - statistics.median(alike)
        from_theory = size + math.log10(fan_in) / 2 if fan_in else from_others
        if len(alike) < _FEW:
            from_others = from_theory if fan_in else 0.0
        odd = min(from_others, from_theory, key=abs)
        if abs(odd) >= _ODD and from_others * from_theory > 0:
            yield name, size, odd


def _is_normalised(graph: Graph, rows: Sequence[Row], name: str, odd: float) -> bool:
    """Whether a normalisation behind a layer divides by its weights' scale.

    The gradient then changes by the inverse of that scale from the next layer back to this one, and
    by the scale from this one to those before: nothing is lost or gained. That is so only if the
    layer's output is all that is normalised; beside a skip connection the other summand suffers.
    """
    at = next((row for row in rows if row.name.partition(" (call")[0] == name), None)
    if at is None or at.node < 0:
        return False
    following = post_dominators(graph)[at.node]
    if following < 0 or graph.nodes[following].before != (at.node,):
        return False
    place = at.name.removeprefix(graph.nodes[at.node].layer.path)
    behind = [row for row in rows if row.node == following]
    same = [row for row in behind if row.name.endswith(place)] or behind
    undone = same[0].log10_gradient - at.log10_gradient if same else 0.0
    return undone * odd > 0 and abs(undone) > abs(odd) / 2


@dataclasses.dataclass(frozen=True)
class _Sequence:
    """Layers on one way from the input to the loss.

    Attributes:
      rows: in that order.
      unit: what lies between two of them: "layer" or "block".
    """

    rows: tuple[Row, ...]
    unit: str


def _sequences(reading: Reading, rows: Sequence[Row]) -> Iterator[_Sequence]:
    graph = reading.facts.plan.graph
    by_node: dict[int, list[Row]] = {}
    for row in rows:
        if row.node >= 0:
            by_node.setdefault(row.node, []).append(row)
    for stack in by_node.values():  # the steps of a loop over layers
        if len(stack) > 1:
            yield _Sequence(tuple(stack), "layer")
    single = {node: found[0] for node, found in by_node.items() if len(found) == 1}
    for chain in chains(graph):
        yield _Sequence(tuple(single[n] for n in chain if n in single), "layer")
    yield from _trunks(graph, single)


def _trunks(graph: Graph, single: dict[int, Row]) -> Iterator[_Sequence]:
    """The ends of residual blocks: each depends on the last, and has a way around the next."""
    before = [0] * len(graph.nodes)  # of each node all that it depends on, as bits
    for number, node in enumerate(graph.nodes):
        for previous in node.before:
            before[number] |= before[previous] | 1 << previous
    ends: dict[int, list[int]] = {}
    for number, after in enumerate(post_dominators(graph)):
        if after != number and number in single:
            trunk = ends.setdefault(after, [])
            if not trunk or before[number] >> trunk[-1] & 1:
                trunk.append(number)
    for trunk in ends.values():
        yield _Sequence(tuple(single[n] for n in trunk), "block")


def _rates(reading: Reading, rows: Sequence[Row], odd: set[str]) -> list[Finding]:
    """The steady rates, of each direction the one that changes most."""
    found: dict[str, tuple[float, Finding]] = {}
    for sequence in _sequences(reading, rows):
        change, finding = _rate(sequence, odd)
        if finding and abs(change) > abs(found.get(finding.kind, (0.0,))[0]):
            found[finding.kind] = change, finding
    return [finding for _, finding in found.values()]


def _rate(sequence: _Sequence, odd: set[str]) -> tuple[float, Finding | None]:
    rows = [row for row in sequence.rows if math.isfinite(row.log10_gradient)]
    if len(rows) < _FEWEST:
        return 0.0, None
    steps = []
    levels = _smooth([row.log10_gradient for row in rows])
    for (before, after), row in zip(itertools.pairwise(levels), rows[1:], strict=True):
        # Towards the input; a step that one layer's weights explain is no part of a rate.
        steps.append(0.0 if row.name in odd else before - after)
    change = sum(steps)
    going = [step for step in steps if step * change > 0]
    largest = max(map(abs, steps))
    if abs(change) < _DECADES or len(going) < _STEADY * len(steps) or largest > abs(change) / 2:
        return change, None
    rate = 10 ** (change / len(steps))
    theory = predicted_rate(rows) if sequence.unit == "layer" else math.nan
    beside = (
        ""
        if math.isnan(theory)
        else f" (mean field with these weights and slopes: x{theory:.2g}, chi_1 = {theory**2:.2g})"
    )
    kinds = Counter(row.activation for row in rows if row.activation)
    activation = kinds.most_common(1)[0][0] if kinds else None
    unit = f"{activation} {sequence.unit}" if activation else sequence.unit
    layers = tuple(row.name for row in rows)
    if change < 0:
        text = (
            f"The gradient vanishes: each {unit} multiplies it by {rate:.2g}{beside}, which makes "
            f"x{power(change)} from {rows[-1].name} to {rows[0].name}.{_lost(rows)}"
        )
        return change, Finding("vanishing", layers, text, _REMEDIES.get(activation or "", _ELSE))
    text = (
        f"The gradient explodes: each {unit} multiplies it by {rate:.3g}{beside}, which makes "
        f"x{power(change)} from {rows[-1].name} to {rows[0].name}."
    )
    remedy = (
        "Normalise in each block, or scale its branch down (by 1/sqrt(blocks), or from 0 on)."
        if sequence.unit == "block"
        else "Use smaller weights, normalisation, or clip the gradient."
    )
    return change, Finding("exploding", layers, text, remedy)


def _smooth(levels: Sequence[float]) -> list[float]:
    """Medians of three: what one layer's normalisation undoes behind it is gone, steps stay."""
    inner = [
        statistics.median(three) for three in zip(levels, levels[1:], levels[2:], strict=False)
    ]
    return [levels[0], *inner, levels[-1]]


def predicted_rate(chain: Sequence[Row]) -> float:
    r"""$\sqrt{\chi}$ with $\chi = \sigma_w^2\, \mathrm{E}\,\phi'^2$ of the layers' own weights and
    slopes, geometric mean; NaN where a slope is not known."""
    chis = [upper.gain * row.slope_square for row, upper in itertools.pairwise(chain)]
    if not chis or any(math.isnan(chi) or chi <= 0 for chi in chis):
        return math.nan
    return math.exp(sum(map(math.log, chis)) / len(chis) / 2)


def _lost(rows: Sequence[Row]) -> str:
    """From which layer on, counted from the output, elements are below bfloat16's, or if they never
    are, below float16's smallest normal number; "" if below neither."""
    for dtype in ("bfloat16", "float16"):
        smallest = math.log10(float(jnp.finfo(dtype).smallest_normal))
        for below, row in enumerate(reversed(rows)):
            if row.log10_gradient_rms < smallest:
                return (
                    f" Below {dtype}'s smallest normal number from layer {below} under the last "
                    f"({row.name})."
                )
    return ""
