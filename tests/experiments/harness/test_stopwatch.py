"""Contestants are run in turn, in orders that change, and timed with the right clock."""

import time

import numpy as np

from experiments.harness.stopwatch import PACES, race


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
