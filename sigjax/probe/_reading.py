"""The numbers of a report, brought to the host and given back to what they belong to."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ._facts import Facts, Parameter
from ._layout import Measured
from ._plan import Site
from ._sums import ACCUMULATORS, log10_norm
from ._tap import Statistics, read


@dataclasses.dataclass(frozen=True)
class Reading:
    """A report's numbers.

    Attributes:
      facts: what they belong to.
      owned: for each layer its parameters, with their numbers.
      loss: the loss.
      evaluations: how many are added up.
      batch_is_finite: whether all arrays of the batch are.
      sites: for each site its measurement, added up over the loops that rows do not tell apart.
      outputs: for each site of an output what its tap measured.
      gradients, values: for each parameter log10 of the norms, with its stack's axes.
      finite_gradients, finite_values: whether all elements of a parameter are.
    """

    facts: Facts
    owned: dict[str, list[tuple[int, Parameter]]]
    loss: float
    evaluations: int
    batch_is_finite: bool
    sites: tuple[np.ndarray, ...]
    outputs: Mapping[int, Statistics]
    gradients: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]
    finite_gradients: tuple[bool, ...]
    finite_values: tuple[bool, ...]

    def elements(self, site: Site) -> int:
        """How many elements a site has at one place of the loops that its rows tell apart, in all
        evaluations."""
        plan = self.facts.plan
        lengths = dict(plan.lengths)
        added = [
            lengths[key] for key in site.loops if key not in plan.stacks and not self.facts.per_step
        ]
        return site.elements * math.prod(added) * self.evaluations

    def queries(self, site: Site) -> int:
        """How many queries the sigmoid attention of a site has, in all loops and evaluations."""
        assert site.mixing is not None
        lengths = dict(self.facts.plan.lengths)
        turns = [lengths[key] for key in site.loops if key not in site.mixing.loops]
        each = site.elements // max(math.prod(site.shape), 1) * site.mixing.queries
        return each * math.prod(turns) * self.evaluations

    def statistics(self, index: int) -> Statistics:
        """What an output's tap measured."""
        return self.outputs[index]


def reading_of(measured: Measured, facts: Facts) -> Reading:
    """Brings the arrays of a report to the host."""
    arrays: Measured = jax.device_get(measured)
    sites: dict[int, np.ndarray] = {}
    for group, stacked in zip(facts.site_groups, arrays.sites, strict=True):
        for index, value in zip(group, stacked, strict=True):
            sites[index] = _kept(facts, facts.plan.sites[index], np.asarray(value))
    ordered = tuple(sites[i] for i in range(len(facts.plan.sites)))
    count = len(facts.parameters)
    norms, finite = np.empty((2, count), object), np.empty((2, count), bool)
    for group, stacked in zip(facts.parameter_groups, arrays.sums, strict=True):
        sums = np.asarray(stacked)
        members = list(group)
        for kind in range(2):
            logs = log10_norm(sums[..., kind, :])
            finite[kind, members] = np.isfinite(sums[..., kind, :]).reshape(len(group), -1).all(-1)
            for index, one in zip(group, logs, strict=True):
                norms[kind, index] = np.asarray(one)
    return Reading(
        facts,
        _owned(facts),
        float(arrays.loss),
        int(arrays.evaluations),
        bool(arrays.batch_is_finite),
        ordered,
        _outputs(facts, ordered),
        tuple(norms[0]),
        tuple(norms[1]),
        tuple(finite[0].tolist()),
        tuple(finite[1].tolist()),
    )


def _outputs(facts: Facts, sites: Sequence[np.ndarray]) -> dict[int, Statistics]:
    """What the taps of all outputs measured, those of one shape read at once."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for index, site in enumerate(facts.plan.sites):
        if site.kind == "output":
            alike.setdefault((sites[index].shape, sites[index].dtype.name), []).append(index)
    found: dict[int, Statistics] = {}
    for members in alike.values():
        together = read(np.stack([sites[i] for i in members]))
        found.update(zip(members, itertools.starmap(Statistics, zip(*together, strict=True)),
                         strict=True))  # fmt: skip
    return found


def _kept(facts: Facts, site: Site, value: np.ndarray) -> np.ndarray:
    """A measurement with the loops added up that rows do not tell apart."""
    if not site.loops:
        return value
    added = tuple(
        axis
        for axis, key in enumerate(site.loops)
        if key not in facts.plan.stacks and not facts.per_step
    )
    return value.sum(added, dtype=value.dtype) if added else value


def _owned(facts: Facts) -> dict[str, list[tuple[int, Parameter]]]:
    found: dict[str, list[tuple[int, Parameter]]] = {}
    for index, parameter in enumerate(facts.parameters):
        found.setdefault(parameter.owner, []).append((index, parameter))
    return found


def state_rates(value: np.ndarray) -> np.ndarray:
    """log10 of what each step of a loop multiplies its state's gradient by, `[..., steps]`."""
    out, into = np.split(value, [ACCUMULATORS], axis=-1)
    with np.errstate(invalid="ignore"):
        return log10_norm(into) - log10_norm(out)


def places(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The indices of an array's elements, as `np.ndindex` gives them, and sooner."""
    return itertools.product(*map(range, shape))
