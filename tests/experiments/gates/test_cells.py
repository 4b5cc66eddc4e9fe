"""The cells that are compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.gates import _cells as cells


@pytest.mark.usefixtures("standard_promotion")
def test_what_is_computed_again_is_what_flax_would_have_kept():
    inputs = jax.random.normal(jax.random.key(0), (2, 4, 3))

    def gradient(cell):
        rnn = nnx.RNN(cell(3, 5, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)))
        found = nnx.jit(nnx.grad(lambda rnn: jnp.sum(rnn(inputs).astype(jnp.float32))))(rnn)
        return jax.tree.leaves(found)

    kept, again = gradient(cells._FLAX["GRU"]), gradient(cells._FLAX_NARROW["GRU"])
    for one, other in zip(kept, again, strict=True):
        assert np.any(one != 0)
        # compiled otherwise, a product may be rounded to bfloat16 at another place
        np.testing.assert_allclose(other, one, rtol=2**-7, atol=2**-7 * np.abs(one).max())
