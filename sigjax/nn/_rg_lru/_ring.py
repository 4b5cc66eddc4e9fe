"""First values of the recurrence's parameter."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn.initializers import Initializer

from ...functional._messages import must
from ...functional._precision import computed_in
from ...functional._softplus_inverse import SOFTPLUS_INVERSE


def ring(smallest: float | int, largest: float | int) -> Initializer:
    r"""$\Lambda$ for which $e^{-\mathrm{softplus}(\Lambda)}$ is a radius of a point of a ring.

    The points are uniform by area between the circles of the two radii, as Orvieto et al. 2023,
    lemma 3.2, draw eigenvalues.
    """
    if not 0 < smallest < largest < 1:
        raise ValueError(
            must(
                ("min_radius", "max_radius"),
                "satisfy 0 < min_radius < max_radius < 1",
                f"min_radius={smallest} and max_radius={largest}",
                of="sigjax.nn.RGLRU",
            )
        )
    # By what 1 exceeds the squared radius, which has its digits for radii near 1, too.
    least, most = (1 - largest) * (1 + largest), (1 - smallest) * (1 + smallest)

    def draw(key: Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> Array:
        wide = computed_in(jnp.dtype(dtype))
        excess = jax.random.uniform(key, shape, wide, least, most, out_sharding=out_sharding)
        return SOFTPLUS_INVERSE(-jnp.log1p(-excess) / 2).astype(dtype)

    return draw
