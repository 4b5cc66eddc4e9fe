"""What a recurrent layer remembers."""

import math
from collections.abc import Iterator

import numpy as np

from .._names import common
from .._plan import Site
from .._reading import Reading, state_rates
from ._kinds import Finding, power

# What is left of a gradient at the other end of the sequence, or how much it has grown, that is
# too little or too much: three decades, by which a step size no longer suits both ends.
_DECADES = 3.0


def recurrence(reading: Reading) -> Iterator[Finding]:
    """Loops over time that lose or blow up the gradient within the sequence."""
    lengths = dict(reading.facts.plan.lengths)
    for index, site in enumerate(reading.facts.plan.sites):
        if site.kind != "state":
            continue
        rates = state_rates(reading.sites[index])
        known = rates[np.isfinite(rates)]
        if not known.size:
            continue
        rate, steps = float(np.mean(known)), lengths[site.key]
        lost = -rate * steps
        if lost > _DECADES:
            yield _forgetting(_name(site), rate, steps)
        elif lost < -_DECADES:
            yield Finding(
                "exploding",
                (_name(site),),
                f"Each step through {_name(site)} multiplies the gradient by {10**rate:.3g}, which "
                f"makes x{power(-lost)} over {steps} steps.",
                "Make the recurrent weights smaller (orthogonal ones keep the norm), or clip the "
                "gradient.",
            )


def _forgetting(layer: str, rate: float, steps: int) -> Finding:
    memory = -1 / (rate * math.log(10))
    return Finding(
        "forgetting",
        (layer,),
        f"Each step through {layer} multiplies the gradient by {10**rate:.3g}: it remembers about "
        f"{max(memory, 0.1):.2g} steps, and of {steps} only x{power(rate * steps)} is left.",
        "Initialise the gates for that length: their biases by "
        f"`sigjax.initializers.chrono({steps})`, or a linear recurrence's decay nearer to 1 "
        "(`max_radius` of `sigjax.nn.RGLRU`).",
    )


def _name(site: Site) -> str:
    return common(list(site.layers)) or ", ".join(site.layers)
