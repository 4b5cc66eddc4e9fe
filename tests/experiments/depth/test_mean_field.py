"""Mean-field theory beside simulation."""

import pytest

from experiments.depth import mean_field


@pytest.mark.proof
def test_mean_field(small_run):
    config = mean_field.Config(
        grid=6, width=200, depth=30, draws=4, trained_width=20, depths=(4,),
        weight_variances=(1.0, 1.76), steps=3,
    )  # fmt: skip
    found = small_run(mean_field, config)
    for name, claim in found.items():
        if not name.startswith("depth"):
            assert claim.verdict == "holds", claim
