"""Contestants are run in turn, in orders that change, and timed with the right clock."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness.stopwatch import PACES, Call, compiling_anew, contestants, race


def test_what_is_slower_takes_longer_and_orders_change():
    order = []

    def contestant(name, seconds):
        def run():
            order.append(name)
            time.sleep(seconds)
            return np.zeros(1)

        return run

    found = race({"short": contestant("short", 0), "long": contestant("long", 0.01)}, 6, 1, seed=0)
    assert set(found) == set(PACES)
    for pace in ("blocking", "pipelined"):
        assert min(found[pace]["long"]) >= 0.01
        assert np.median(found[pace]["short"]) < 0.01
    # sleeping takes no processor time
    assert np.median(found["processor"]["long"]) < 0.005
    assert all(len(times) == 6 for times in found["blocking"].values())
    firsts = ["".join(order)[i : i + 5] for i in range(0, len("".join(order)), 27)]
    assert {"short", "longl"} <= set(firsts)


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
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }

    def compile_one(number):
        return jax.jit(lambda x: jnp.sin(x) * number).lower(1.0).compile()

    try:
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
