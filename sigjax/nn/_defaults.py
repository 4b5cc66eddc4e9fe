"""Flax's initialisers, named once: a default argument should not call a function."""

from typing import Any

from flax.nnx.nn import recurrent as _recurrent
from jax.nn import initializers as _initializers

LECUN_NORMAL = _initializers.lecun_normal()
ORTHOGONAL = _initializers.orthogonal()
BLOCKWISE_ORTHOGONAL: Any = _recurrent.modified_orthogonal  # of one gate at a time
ZEROS = _initializers.zeros
