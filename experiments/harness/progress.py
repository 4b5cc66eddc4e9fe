"""How far a sweep has come: a bar on a terminal, plain lines elsewhere, on one process only."""

import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import jax
from tqdm import tqdm

Item = TypeVar("Item")

_SECONDS_BETWEEN_LINES = 5.0


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yields the items and tells on standard error how many are done."""
    if jax.process_index() != 0:
        yield from items
    elif sys.stderr.isatty() and multiprocessing.parent_process() is None:
        yield from tqdm(items, total=total, desc=what, unit="point", leave=False)
    else:
        yield from _lines(items, total, what)


def _lines(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    begun = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            print(f"{what}: {done}/{total} points, {now - begun:.0f} s", file=sys.stderr)
            last = now
        yield item
