"""Memory by its law and results to the last bit, measured in processes of their own."""

import jax
import numpy as np
import pytest

from experiments.depth import scaling
from experiments.harness.usage import UsageError


@pytest.mark.proof
def test_a_small_run_keeps_its_claims():
    config = scaling.Config(
        depths=(20, 200), widths=(16, 32), seeds=(1, 2), devices=(1, 2), deepest=(300, 128),
        rounds=1,
    )  # fmt: skip
    dataset = scaling.measure(config, jax.random.key(0))
    claims = {claim.name: claim for claim in scaling.claims(dataset)}
    # At these widths the kernels that a layer needs count beside its signals.
    exact = [claim for claim in claims.values() if claim.kind == "exact"]
    assert len(exact) == 3
    assert claims["largest difference of a result between numbers of devices"].measured == 0
    assert claims["bytes that a layer more takes, over those of its signals"].verdict == "holds"
    assert np.isfinite(dataset["seconds"]).all()
    assert len(scaling.plot(dataset).axes) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": (5, 20)}, "--depths must be at least 10, got 5 20"),
        ({"widths": (5,)}, "--widths must be two or more sizes, got 5"),
        ({"devices": (2, 4)}, "--devices must be numbers with 1 among them, got 2 4"),
    ],
)
def test_what_cannot_be_measured_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        scaling.Config(**fields)
