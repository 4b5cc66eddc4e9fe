"""Contestants are run in turn, in orders that change, and timed with the right clock."""

import types

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import stopwatch
from experiments.harness.stopwatch import PACES, Call, compiling_anew, contestants, race


def test_what_is_slower_takes_longer_and_orders_change(monkeypatch):
    order = []
    clock = {"wall": 0.0, "processor": 0.0}
    clocks = types.SimpleNamespace(
        perf_counter=lambda: clock["wall"], process_time=lambda: clock["processor"]
    )
    monkeypatch.setattr(stopwatch, "time", clocks)

    def contestant(name, wall, processor):
        def run():
            order.append(name)
            clock["wall"] += wall
            clock["processor"] += processor
            return np.zeros(1)

        return run

    # In binary fractions, which sums keep.
    contestants = {"short": contestant("short", 1 / 4, 1 / 8), "long": contestant("long", 3.0, 0.5)}
    found = race(contestants, rounds=6, calls=2, seed=0)
    assert set(found) == set(PACES)
    for pace in ("blocking", "pipelined"):
        assert found[pace] == {"short": [1 / 4] * 6, "long": [3.0] * 6}
    assert found["processor"] == {"short": [1 / 8] * 6, "long": [0.5] * 6}
    each = 1 + 2 * 2  # runs a round: to warm the cache, blocking, pipelined
    assert set(order[:: 2 * each]) == {"short", "long"}  # who was first


def test_only_what_is_asked_for_is_run():
    calls = []
    found = race({"one": lambda: calls.append(1)}, rounds=3, calls=2, seed=0, paces=("blocking",))
    assert set(found) == {"blocking"}
    assert len(calls) == 3 * (1 + 2)


def test_programs_compiled_side_by_side_are_the_programs():
    calls = {str(n): Call.of(lambda x, y, n=n: x * n + y, 1.0, n) for n in (2, 3, 5)}
    found = {name: float(run()) for name, run in contestants(calls).items()}
    assert found == {"2": 4, "3": 6, "5": 10}


def test_compiling_anew_leaves_the_cache_alone(tmp_path):
    before = {
        name: getattr(jax.config, name)
        for name in (
            "jax_enable_compilation_cache",
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
        )
    }

    def compile_one(number):
        return jax.jit(lambda x: jnp.sin(x) * number).lower(1.0).compile()

    try:
        jax.config.update("jax_enable_compilation_cache", True)
        jax.config.update("jax_compilation_cache_dir", str(tmp_path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        with compiling_anew():
            compile_one(2.5)
        assert list(tmp_path.iterdir()) == []
        compile_one(3.5)
        assert list(tmp_path.iterdir()) != []
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
