"""What README says of long results."""

import numpy as np
import xarray as xr

from experiments.tools import _brief


def test_accuracy_is_a_row_a_function():
    ulp = np.arange(5 * 2 * 2 * 3.0).reshape(5, 2, 2, 3)
    coordinates = {
        "function": list(_brief.FUNCTIONS),
        "dtype": ["float32", "bfloat16"],
        "library": ["sigjax", "jax"],
        "order": list(_brief.ORDERS),
    }
    dataset = xr.Dataset({"ulp": (tuple(coordinates), ulp)}, coordinates)
    certified = {
        function: {order: {"largest_error_ulp": 0.25 * i} for i, order in enumerate(_brief.ORDERS)}
        for function in _brief.FUNCTIONS
    }
    lines = _brief.accuracy(dataset, certified).splitlines()
    assert lines[0] == "|  | float32, sigjax | float32, jax | bfloat16, sigjax | bfloat16, jax |"
    assert (
        lines[3]
        == "| `log_sigmoid` | 0 / 0.25 / 0.5 | 15 / 16 / 17 | 18 / 19 / 20 | 21 / 22 / 23 |"
    )
    assert len(lines) == 7


def test_speed_is_jaxs_time_over_ours():
    names, sizes, modes = list(_brief.FUNCTIONS), list(_brief.SIZES), list(_brief.MODES)
    seconds = np.ones((5, 3, 1, 1, 3, 2))
    seconds[1, 2, 0, 0, 1] = 3.0, 2.0
    calls = np.ones((5, 2))
    calls[1] = 1.0, 4.0
    dataset = xr.Dataset(
        {
            "seconds": (("function", "size", "dtype", "pace", "mode", "contestant"), seconds),
            "call_seconds": (("called", "library"), calls),
        },
        {
            "function": names, "size": sizes, "dtype": ["float32"], "pace": ["blocking"],
            "mode": modes, "contestant": ["jax", "sigjax"], "called": names,
            "library": ["jax", "sigjax"],
        },
    )  # fmt: skip
    line = _brief.speed(dataset).splitlines()[3]
    same = "1.00 / 1.00 / 1.00"
    assert line == f"| `log_sigmoid` | 0.25 | {same} | {same} | 1.00 / 1.50 / 1.00 |"


def test_gates_are_percentages():
    dataset = xr.Dataset(
        {"state_error": (("cell", "time", "narrow"), [[[0.333, 0.00284], [0.6, 0.003]]])},
        {"cell": ["GRU"], "time": [1000, 4000], "narrow": ["flax bfloat16", "sigjax bfloat16"]},
    )
    assert _brief.gates(dataset) == (
        "In bfloat16 the state of a GRU that is to remember for 1,000 steps is 0.28% off, "
        "Flax's 33%."
    )
