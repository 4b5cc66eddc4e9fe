"""What no gradient can come to, by the program, and what stops it by being zero."""

import math
from collections.abc import Iterator, Sequence

from .._names import common
from .._reading import Reading
from ._kinds import Finding, listed


def unreached(reading: Reading) -> Iterator[Finding]:
    """Layers that the loss does not depend on, or not by a differentiable way."""
    unused, detached = [], []
    for owner, owned in reading.owned.items():
        if not any(parameter.is_used for _, parameter in owned):
            unused.append(owner)
        elif not any(parameter.is_reached for _, parameter in owned):
            detached.append(owner)
    if detached:
        layers = collapsed(detached, reading)
        yield Finding(
            "detached",
            layers,
            f"The loss depends on {listed(layers)}, but no gradient can come there: every way "
            "leads through something without a derivative (stop_gradient, rounding, an argmax, "
            "integers).",
            "If it is to be trained, take that out, or give it a straight-through gradient.",
        )
    if unused:
        layers = collapsed(unused, reading)
        called = {site.layers[0] for site in reading.facts.plan.sites if site.kind == "output"}
        how = "is computed, but nothing uses it" if set(unused) & called else "is never used"
        yield Finding(
            "unused",
            layers,
            f"The loss does not depend on {listed(layers)}, which {how}.",
            "Use the output, or remove the layer: its parameters only take memory.",
        )


def collapsed(owners: Sequence[str], reading: Reading) -> tuple[str, ...]:
    """Layers, with the name of the part in place of all layers of a part."""
    chosen, found = set(owners), []
    for owner in owners:
        place = owner
        parts = owner.split(".")
        for length in range(1, len(parts)):
            prefix = ".".join(parts[:length])
            inside = [o for o in reading.owned if o == prefix or o.startswith(f"{prefix}.")]
            if len(inside) > 1 and set(inside) <= chosen:
                place = common(inside)
                break
        found.append(place)
    return tuple(dict.fromkeys(found))


def zero_weights(reading: Reading) -> Iterator[Finding]:
    """Kernels and scales of zeros."""
    layers = [
        parameter.owner or parameter.name
        for index, parameter in enumerate(reading.facts.parameters)
        if parameter.use in ("kernel", "scale")
        and parameter.is_reached
        and 0 not in parameter.shape
        and (reading.values[index] == -math.inf).all()
    ]
    if layers:
        yield Finding(
            "zero_weights",
            tuple(dict.fromkeys(layers)),
            f"The weights of {listed(list(dict.fromkeys(layers)))} are all zero, so that no "
            "gradient passes to what lies before on that way.",
            "By design as often as not (a head, the last layer of a block): after the first step "
            "it is over. If it is not by design, initialise them.",
        )
