"""Times contestants against each other in one process."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

Contestant = Callable[[], object]

PACES = ("blocking", "pipelined", "processor")


def race(contestants: Mapping[str, Contestant], rounds: int, calls: int, seed: int) -> dict:
    """Times every contestant once a round, in an order drawn anew each round.

    A fixed order misleads: what runs before leaves its data in the cache, or the clock lowered.

    Args:
      contestants: each computes something and returns it; they have run before.
      rounds: how many times each is timed.
      calls: how many calls one timing spans.
      seed: of the orders.

    Returns:
      Seconds a call as `[pace][contestant][round]`. "blocking" waits for each result before the
      next call, "pipelined" for the last one; "processor" is the processor time, over all
      cores, of the latter: what other processes do to the clock it does not see.
    """
    generator = random.Random(seed)
    seconds: dict[str, dict[str, list[float]]] = {
        pace: {name: [] for name in contestants} for pace in PACES
    }
    for _ in range(rounds):
        for name in generator.sample(list(contestants), len(contestants)):
            run = contestants[name]
            jax.block_until_ready(run())  # its own data, not its rival's, are in the cache
            begun = time.perf_counter()
            for _ in range(calls):
                jax.block_until_ready(run())
            seconds["blocking"][name].append((time.perf_counter() - begun) / calls)
            begun, processor = time.perf_counter(), time.process_time()
            results = [run() for _ in range(calls)]
            jax.block_until_ready(results)
            seconds["pipelined"][name].append((time.perf_counter() - begun) / calls)
            seconds["processor"][name].append((time.process_time() - processor) / calls)
    return seconds


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Leaves the cache of compiled programs on disk alone, so that compilation can be timed."""
    config: Any = jax.config
    before = config.jax_enable_compilation_cache
    compilation_cache.reset_cache()  # it looks at its settings once only
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        compilation_cache.reset_cache()
        jax.config.update("jax_enable_compilation_cache", before)
