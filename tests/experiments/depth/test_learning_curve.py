"""Deep linear networks."""

import jax
import numpy as np

from experiments.depth import learning_curve


def test_the_tree_has_the_correlations_of_its_branches():
    items = np.asarray(learning_curve.tree(jax.random.key(0), 20_000))
    agreement = items @ items.T / items.shape[1]
    # two items whose paths part k levels up agree as (1 - 2 * 0.1)^(2k)
    for levels, other in ((1, 1), (2, 2), (5, 16)):
        np.testing.assert_allclose(agreement[0, other], 0.8 ** (2 * levels), atol=0.03)


def test_learning_curve(small_run):
    found = small_run(
        learning_curve, learning_curve.Config(features=64, steps=20_000, seeds=1, start=1e-2)
    )
    exact = [claim for claim in found.values() if claim.kind == "exact"]
    assert len(exact) == 2
    assert all(claim.verdict == "holds" for claim in exact)
