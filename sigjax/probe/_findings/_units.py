"""Units and gates that have no slope left."""

from collections.abc import Callable, Iterator, Sequence

from .._rows import Row
from ._kinds import Finding

_MANY = 0.5  # of the units, outputs or queries
_ALL = 0.9  # of the units: the layer lets next to nothing through


def dead(rows: Sequence[Row]) -> tuple[list[Finding], list[Finding]]:
    """Layers by the share of units that are 0 for the whole batch: above 90 %, and 50 to 90 %."""
    found = []
    for low, high in ((_ALL, 1.0), (_MANY, _ALL)):
        full = [row for row in rows if low < row.dead <= high]
        found.append([_dead(full)] if full else [])
    return found[0], found[1]


def _dead(full: Sequence[Row]) -> Finding:
    worst = max(full, key=lambda row: row.dead)
    layers = _ordered(full, worst)
    return Finding(
        "dead",
        layers,
        f"{100 * worst.dead:.0f} % of the units behind {worst.name} are 0 for the whole batch"
        f"{_others(layers)}: no gradient passes through them, so they stay dead.",
        "Initialise the layer anew, with biases of 0 and He's weights "
        "(`sigjax.initializers.critical`), and lower the learning rate.",
    )


def saturated(rows: Sequence[Row]) -> Iterator[Finding]:
    """Layers whose bounded activation is at a bound, and routers whose affinities are."""
    routers = [row for row in rows if row.activation == "router" and row.saturated > _ALL]
    if routers:
        yield _saturated(
            routers,
            lambda worst: (
                f"affinities that the router {worst.name} chooses by are within 1 % of 0 or 1"
            ),
            "experts are told apart by rounding, and the router hardly learns.",
            "Make the router's weights smaller, or normalise its input; keep logits in float32.",
        )
    full = [row for row in rows if row.activation != "router" and row.saturated > _MANY]
    if full:
        yield _saturated(
            full,
            lambda worst: (
                f"outputs of {worst.activation} behind {worst.name} are within 1 % of a bound"
            ),
            "their slopes are small, and what lies before learns slowly.",
            "Make the weights smaller, or normalise the input of the activation.",
        )


def _saturated(full: Sequence[Row], what: Callable[[Row], str], harm: str, remedy: str) -> Finding:
    worst = max(full, key=lambda row: row.saturated)
    layers = _ordered(full, worst)
    text = f"{100 * worst.saturated:.0f} % of the {what(worst)}{_others(layers)}: {harm}"
    return Finding("saturated", layers, text, remedy)


def _ordered(rows: Sequence[Row], worst: Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys([worst.name, *(row.name for row in rows)]))


def _others(layers: Sequence[str]) -> str:
    if len(layers) < 2:
        return ""
    return f", and so in {len(layers) - 1} more layer{'s' if len(layers) > 2 else ''}"
