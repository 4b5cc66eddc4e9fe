"""What the tests of modules share."""

import jax
import pytest


@pytest.fixture
def hardly_optimized():
    """To optimise the machine code of so many small programs takes longer than to run them.

    XLA's own passes, such as fusion and the partitioning over a mesh, are as ever.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
