"""Gates in low precision."""

import dataclasses

import jax
import pytest

from experiments.gates import gates_low_precision
from experiments.harness.usage import UsageError


@pytest.mark.usefixtures("standard_promotion")
def test_flaxs_gates_fail_the_bars_that_ours_hold():
    """The measure sees what it is there to see."""
    config = dataclasses.replace(gates_low_precision.Config(), hidden=16, times=(20, 1000))
    found = gates_low_precision._errors({"cell": "GRU"}, config=config, key=jax.random.key(0))
    error = found["state_error"].sel(time=1000)
    assert float(error.sel(narrow="flax bfloat16")) > 10 * gates_low_precision.STATE_ERROR
    assert float(error.sel(narrow="sigjax bfloat16")) < gates_low_precision.STATE_ERROR


@pytest.mark.slice
def test_refusal():
    with pytest.raises(UsageError, match="--times must be one or more"):
        gates_low_precision.Config(times=())
