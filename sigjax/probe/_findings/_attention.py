"""Attention whose weights have no slope left, or are too large."""

import dataclasses
import math
from collections.abc import Iterator

from .._plan import Site
from .._reading import Reading
from ._kinds import Finding, listed, power

_MANY = 0.5  # of the queries, or of the weight
# Weights of sigmoids that sum to so many times 1 make the output that much larger than softmax's.
# Trained models, whose bias is about -log n, stay below it.
_TIMES = 16.0
# To so little that next to nothing comes through.
_LITTLE = 0.01


@dataclasses.dataclass(frozen=True)
class _Case:
    """One attention that is not as it should be.

    Attributes:
      grave: how far off it is; the farthest gives the numbers of the finding.
      layers: of queries and keys.
      text: what was measured, of "the attention of ...".
      remedy: what to do first.
    """

    grave: float
    layers: tuple[str, ...]
    text: str
    remedy: str


def attention_saturated(reading: Reading) -> Iterator[Finding]:
    """Softmax attention in which one key takes all; sigmoid attention all open, all closed, or of
    weights that sum to many times 1."""
    found: dict[str, list[_Case]] = {}
    for index, site in enumerate(reading.facts.plan.sites):
        if site.kind == "attention":
            judge = _softmax if site.mixing is None else _sigmoid
            sums = tuple(map(float, reading.sites[index].reshape(-1, 3).sum(0)))
            case = judge(reading, site, sums)
            if case is not None:
                found.setdefault(case.remedy, []).append(case)
    for cases in found.values():
        worst = max(cases, key=lambda case: case.grave)
        layers = tuple(dict.fromkeys(layer for case in cases for layer in case.layers))
        text = f"In the attention of {listed(layers)} {worst.text}"
        yield Finding("attention_saturated", layers, text, worst.remedy)


_Sums = tuple[float, ...]


def _softmax(reading: Reading, site: Site, sums: _Sums) -> _Case | None:
    del reading
    queries, sharp, spread = sums
    if not queries or sharp / queries <= _MANY:
        return None
    return _Case(
        sharp / queries,
        site.layers,
        f"{100 * sharp / queries:.0f} % of the queries give one key more than 99 % of their "
        f"weight; the logits spread by {spread / queries:.3g} where 1 is usual: hardly any "
        "gradient passes to queries and keys.",
        "Make the weights of query and key smaller, or normalise queries and keys; check the "
        "scale 1/sqrt(d).",
    )


def _sigmoid(reading: Reading, site: Site, sums: _Sums) -> _Case | None:
    weight, is_open, pairs = sums
    queries = reading.queries(site)
    each, keys = weight / queries, pairs / queries
    if is_open > _MANY * weight:
        share = is_open / weight
        return _Case(
            share,
            site.layers,
            f"{100 * share:.0f} % of the sigmoids' weight is on keys that are open by more than "
            f"99 %, and it sums to {each:.3g} for a query: hardly any gradient passes to queries "
            "and keys.",
            "Make the weights of query and key smaller, or normalise queries and keys; let the "
            "bias of the logits start at -log n, n being the number of keys.",
        )
    if each > _TIMES:
        return _Case(
            each,
            site.layers,
            f"a query's sigmoid weights sum to {each:.3g} on average, over {keys:.3g} keys, where "
            "a softmax's sum to 1: the output is as many times too large.",
            f"Add -log n to the logits, n being the number of keys, here {-math.log(keys):.2g} "
            "(`sigjax.nn.SigmoidAttention` does unless it is given a `logit_bias`).",
        )
    if each < _LITTLE:
        size = power(math.log10(each)) if each else "0"
        return _Case(
            1 - each,
            site.layers,
            f"a query's sigmoid weights sum to {size}, where a softmax's sum to 1: nothing comes "
            "through, and hardly any gradient passes to queries and keys.",
            "Make the bias of the logits larger, -log n for n keys, and the weights of query and "
            "key smaller.",
        )
    return None
