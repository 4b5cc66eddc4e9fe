"""Numbers of a report inside a traced function."""

import jax.numpy as jnp
from jax import Array

from ._facts import Facts
from ._layout import Measured
from ._sums import ACCUMULATORS, log10_norm_traced


def scalars(measured: Measured, facts: Facts, prefix: str) -> dict[str, Array]:
    """Loss and norms by name, see `GradientReport.scalars`."""
    found = {f"{prefix}loss": measured.loss}
    outputs: dict[str, list[Array]] = {}
    for group, stacked in zip(facts.site_groups, measured.sites, strict=True):
        for place, index in enumerate(group):
            site = facts.plan.sites[index]
            if site.kind == "output":
                value = stacked[place].reshape(-1, stacked.shape[-1])[:, :ACCUMULATORS]
                outputs.setdefault(site.layers[0], []).append(jnp.sum(value, 0))
    owned: dict[str, list[Array]] = {}
    for group, stacked in zip(facts.parameter_groups, measured.sums, strict=True):
        for place, index in enumerate(group):
            value = stacked[place][..., 0, :].reshape(-1, ACCUMULATORS)
            owned.setdefault(facts.parameters[index].owner, []).append(jnp.sum(value, 0))
    for kind, by_layer in (("log10_gradient", outputs), ("log10_parameter_gradient", owned)):
        if not by_layer:
            continue
        sums = jnp.stack([sum(values[1:], start=values[0]) for values in by_layer.values()])
        logs = log10_norm_traced(sums)
        for layer, value in zip(by_layer, logs, strict=True):
            found[f"{prefix}{layer or '(root)'}/{kind}"] = value
    return found
