"""How far a sweep has come: a bar on a terminal, plain lines elsewhere, on one process only."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import jax
from tqdm import tqdm

Item = TypeVar("Item")

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_TO_READ = 0.1  # a finished point's file is read in less, hardly a point is measured in it


def progress(
    items: Sequence[Item], what: str, cost: Callable[[Item], float] | None = None
) -> Iterator[Item]:
    """Yields the items and tells on standard error how many are done.

    Args:
      items: what is to be done.
      what: its name.
      cost: how the items' times compare, in any unit, for the time left; if None, all take as long.
    """
    if jax.process_index() != 0:
        yield from items
    elif sys.stderr.isatty() and multiprocessing.parent_process() is None:
        yield from tqdm(items, desc=what, unit="point", leave=False)
    else:
        yield from _lines(items, what, [cost(item) if cost else 1.0 for item in items])


def _lines(items: Sequence[Item], what: str, costs: Sequence[float]) -> Iterator[Item]:
    begun = shown = before = time.monotonic()
    took: list[float] = []  # seconds of every item that is done, read or measured
    read = 0  # items that an earlier run left, which say nothing of what a new one takes
    for done, item in enumerate(items):
        now = time.monotonic()
        if done:
            took.append(now - before)
        if done == read + 1 and took[-1] < _SECONDS_TO_READ:
            read = done
        before = now
        if now - shown >= _SECONDS_BETWEEN_LINES and done > read:
            left = _left(took[read:], costs[read:])
            place = f"{done}/{len(items)} points"
            _say(f"{what}: {place}, {now - begun:.0f} s, about {left:.0f} s left")
            shown = now
        yield item
    if shown > begun:
        _say(f"{what}: {len(items)}/{len(items)} points, {time.monotonic() - begun:.0f} s")


def _left(took: Sequence[float], costs: Sequence[float]) -> float:
    """Seconds that the other items will take, at the rate of those that are done.

    The first one also compiles what all share: if it took longer, for its cost, than each of the
    others, it is left out.
    """
    done = len(took)
    rates = [seconds / cost for seconds, cost in zip(took, costs, strict=False)]
    first = 1 if done > 1 and rates[0] > max(rates[1:]) else 0
    return sum(took[first:]) / sum(costs[first:done]) * sum(costs[done:])


def _say(line: str) -> None:
    print(line, file=sys.stderr)
