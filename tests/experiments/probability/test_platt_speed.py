"""The race of calibrations."""

import numpy as np
import pytest

from experiments.probability import platt_speed


@pytest.mark.proof
def test_the_race_of_calibrations_is_between_equals(small_run):
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(3, 200))
    labels = (scores + generator.normal(size=scores.shape) > 0).astype(np.int32)
    fits = platt_speed._ours(scores, labels)["sigjax, float64"]()
    theirs = np.array(platt_speed._theirs(scores, labels)())
    np.testing.assert_allclose(np.stack([fits.a, fits.b], axis=1), theirs, rtol=1e-4)
    found = small_run(platt_speed, platt_speed.Config(fits=(1, 3), points=50, rounds=1))
    assert [claim.kind for claim in found.values()] == ["statistical", "reported"]
    assert all(claim.measured > 0 for claim in found.values())
