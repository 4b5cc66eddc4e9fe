"""What a router refuses, by name."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.router.definition import LOGITS, router_of_logits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_groups": 3}, "'num_groups' must divide the 8 experts"),
        ({"num_groups": 4, "groups_per_token": 5}, "'groups_per_token' must be at most the 4"),
        ({"experts_per_token": 9}, "'experts_per_token' must be at most the 8"),
        ({"num_groups": 4, "groups_per_token": 1, "experts_per_token": 3}, "at most the 2"),
        ({"capacity_factor": 0.0}, "'capacity_factor' must be positive"),
        ({"experts_per_token": 0}, "'experts_per_token' must be at least 1"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        router_of_logits(**{"experts_per_token": 2, **change})


def test_refusals_of_inputs():
    router = router_of_logits(experts_per_token=2)
    with pytest.raises(ValueError, match="8 features"):
        router(jnp.ones((3, 7)))
    with pytest.raises(ValueError, match=r"'where' must have shape \(3, 5\)"):
        router(LOGITS, where=np.ones(3, bool))
    with pytest.raises(TypeError, match="'where' must be boolean"):
        router(LOGITS, where=np.ones((3, 5), np.float32))
