"""Times contestants against each other in one process."""

import concurrent.futures
import contextlib
import functools
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

Contestant = Callable[[], object]

PACES = ("blocking", "pipelined", "processor")


def compiled(lowered: Mapping[str, jax.stages.Lowered]) -> dict[str, jax.stages.Compiled]:
    """Compiles programs side by side: nothing is timed yet, and every core may help."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        programs = threads.map(jax.stages.Lowered.compile, lowered.values())
        return dict(zip(lowered, programs, strict=True))


class Call(NamedTuple):
    """A program and what it is given."""

    lowered: jax.stages.Lowered
    arguments: tuple[Any, ...]

    @classmethod
    def of(cls, function: Callable[..., Any], *arguments: Any) -> "Call":
        """The whole of a function as one program."""
        return cls(jax.jit(function).lower(*arguments), arguments)


def contestants(calls: Mapping[str, Call]) -> dict[str, Contestant]:
    """Calls, compiled side by side and ready for a `race`."""
    programs: Mapping[str, Any] = compiled({name: call.lowered for name, call in calls.items()})
    return {
        name: functools.partial(programs[name], *call.arguments) for name, call in calls.items()
    }


def race(
    contestants: Mapping[str, Contestant],
    rounds: int,
    calls: int,
    seed: int,
    paces: tuple[str, ...] = PACES,
) -> dict[str, dict[str, list[float]]]:
    """Times every contestant once a round, in an order drawn anew each round.

    A fixed order misleads: what runs before leaves its data in the cache, or the clock lowered.

    Args:
      contestants: each computes something and returns it; each runs once before it is timed.
      rounds: how many times each is timed.
      calls: how many calls one timing spans.
      seed: of the orders.
      paces: what is measured.

    Returns:
      Seconds a call as `[pace][contestant][round]`. "blocking" waits for each result before the
      next call, "pipelined" for the last one; "processor" is the processor time, over all
      cores, of the latter: what other processes do to the clock it does not see.
    """
    generator = random.Random(seed)
    seconds: dict[str, dict[str, list[float]]] = {
        pace: {name: [] for name in contestants} for pace in paces
    }
    for _ in range(rounds):
        for name in generator.sample(list(contestants), len(contestants)):
            run = contestants[name]
            jax.block_until_ready(run())  # its own data, not its rival's, are in the cache
            taken = _blocking(run, calls) if "blocking" in paces else {}
            if not taken.keys() >= set(paces):
                taken |= _pipelined(run, calls)
            for pace in paces:
                seconds[pace][name].append(taken[pace] / calls)
    return seconds


def median_seconds(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, float]:
    """The median time of a call over the rounds of a `race`, each call waited for."""
    seconds = race(contestants, rounds, calls=1, seed=0, paces=("blocking",))["blocking"]
    return {name: statistics.median(times) for name, times in seconds.items()}


def _blocking(run: Contestant, calls: int) -> dict[str, float]:
    begun = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(run())
    return {"blocking": time.perf_counter() - begun}


def _pipelined(run: Contestant, calls: int) -> dict[str, float]:
    begun, processor = time.perf_counter(), time.process_time()
    jax.block_until_ready([run() for _ in range(calls)])
    return {
        "pipelined": time.perf_counter() - begun,
        "processor": time.process_time() - processor,
    }


class Preparation(NamedTuple):
    """Median seconds before a program can run, of each contestant."""

    trace: dict[str, float]
    compile: dict[str, float]


def preparation(programs: Mapping[str, Callable[[], Call]], rounds: int, seed: int) -> Preparation:
    """Times how long programs take to trace and lower, and to compile, in an order drawn anew.

    JAX's caches are cleared before each, for a new process has none; so is all that was
    compiled before.
    """
    generator = random.Random(seed)
    traced: dict[str, list[float]] = {name: [] for name in programs}
    compiled: dict[str, list[float]] = {name: [] for name in programs}
    with compiling_anew():
        for _ in range(rounds):
            for name in generator.sample(list(programs), len(programs)):
                jax.clear_caches()
                begun = time.perf_counter()
                call = programs[name]()
                lowered = time.perf_counter()
                call.lowered.compile()
                traced[name].append(lowered - begun)
                compiled[name].append(time.perf_counter() - lowered)
    return Preparation(
        *(
            {name: statistics.median(times[name]) for name in programs}
            for times in (traced, compiled)
        )
    )


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
