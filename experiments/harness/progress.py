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
_SECONDS_TO_READ = 0.1  # a finished point's file is read in less, hardly a point is measured in it


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yields the items and tells on standard error how many are done."""
    if jax.process_index() != 0:
        yield from items
    elif sys.stderr.isatty() and multiprocessing.parent_process() is None:
        yield from tqdm(items, total=total, desc=what, unit="point", leave=False)
    else:
        yield from _lines(items, total, what)


def _lines(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    begun = started = shown = before = time.monotonic()
    read = 0  # points that an earlier run left, which say nothing of what a new one takes
    for done, item in enumerate(items):
        now = time.monotonic()
        if done == read + 1 and now - before < _SECONDS_TO_READ:
            read, started = done, now
        before = now
        if now - shown >= _SECONDS_BETWEEN_LINES and done > read:
            left = (now - started) / (done - read) * (total - done)
            _say(f"{what}: {done}/{total} points, {now - begun:.0f} s, about {left:.0f} s left")
            shown = now
        yield item
    if shown > begun:
        _say(f"{what}: {total}/{total} points, {time.monotonic() - begun:.0f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
