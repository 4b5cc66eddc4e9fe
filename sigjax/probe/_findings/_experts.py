"""Experts that no token is sent to."""

from collections.abc import Iterator

import numpy as np

from .._reading import Reading
from ._kinds import Finding, listed

# Choices for each expert, on average. One that is chosen a third as often as the average is missed
# by so many with a probability of e^(-32/3), once in 40,000.
_FEWEST = 32


def experts(reading: Reading) -> Iterator[Finding]:
    """Rows of stacked parameters without gradient while others have one."""
    alive: dict[str, np.ndarray] = {}
    for index, parameter in enumerate(reading.facts.parameters):
        if not parameter.choices or not parameter.is_reached:
            continue
        if parameter.choices * reading.evaluations >= _FEWEST * parameter.stack[-1]:
            place = parameter.name.rpartition(".")[0] or "(root)"
            reached = reading.gradients[index] > -np.inf
            alive[place] = reached | alive.get(place, np.zeros_like(reached))
    dead = [
        (place + "".join(f"[{i}]" for i in step), place)
        for place, reached in alive.items()
        for step in np.ndindex(reached.shape)
        if not reached[step] and reached[step[:-1]].any()
    ]
    if dead:
        layers = [layer for layer, _ in dead]
        count = sum(alive[place].size for place in dict.fromkeys(place for _, place in dead))
        yield Finding(
            "dead",
            tuple(layers),
            f"No token of the batch reaches the expert{'s' * (len(layers) > 1)} {listed(layers)}, "
            f"{len(layers)} of {count}: without a gradient, they learn nothing.",
            "Balance the choice by a bias that is moved against the load "
            "(`sigjax.nn.SigmoidRouter.update_bias`) or by an auxiliary loss, and look at the "
            "router's weights and input.",
        )
