"""The last layer of a classifier whose labels do not exclude each other."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional import logit, sigmoid
from ..initializers import prior_bias
from ._defaults import SMALL_NORMAL, ZEROS


class MultiLabelHead(nnx.Module):
    r"""Independent probabilities $\sigma(W x + b)_k$, one a label.

    A softmax shares one unit of probability out: with $k$ labels true at once each gets at most
    $1/k$. Sigmoids say what they know of each label.

    Args:
      in_features: of the inputs.
      num_labels: $K$.
      prior: frequency of the labels before training, in (0, 1): one number or $K$; None for 1/2.
      kernel_init: small by default, standard deviation 0.01, so that the prior is what the
        network starts with.
      dtype, param_dtype, precision, rngs, kernel_metadata, bias_metadata: as for
        `flax.nnx.Linear`.

    Raises:
      ValueError: if `prior` is not strictly between 0 and 1, or neither one number nor $K$.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> head = MultiLabelHead(8, 3, prior=[0.5, 0.1, 0.01], rngs=nnx.Rngs(0))
      >>> [f"{p:.3f}" for p in head.probabilities(jax.numpy.zeros(8))]
      ['0.500', '0.100', '0.010']

    References:
      Lin, Goyal, Girshick, He & Dollár 2017, ICCV 2980-2988, section 4.1.
    """

    def __init__(
        self,
        in_features: int,
        num_labels: int,
        *,
        prior: ArrayLike | Sequence[float] | None = None,
        kernel_init: Initializer = SMALL_NORMAL,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Any = dtypes.promote_dtype,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        shape = jnp.shape(jnp.asarray(0.5 if prior is None else prior))
        if shape not in ((), (1,), (num_labels,)):
            raise ValueError(
                f"sigjax.nn.MultiLabelHead: argument 'prior' must be one number or {num_labels}, "
                f"one a label, got shape {shape}"
            )
        self.linear = nnx.Linear(
            in_features,
            num_labels,
            kernel_init=kernel_init,
            bias_init=ZEROS if prior is None else prior_bias(prior),
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            promote_dtype=promote_dtype,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )

    def __call__(self, inputs: ArrayLike) -> Array:
        """Logits `[..., num_labels]` of inputs `[..., in_features]`, for a loss."""
        return self.linear(jnp.asarray(inputs))

    def probabilities(self, inputs: ArrayLike) -> Array:
        """Probability of each label, `[..., num_labels]`."""
        return sigmoid(self(inputs))

    def predict(self, inputs: ArrayLike, threshold: ArrayLike = 0.5) -> Array:
        """Whether each label's probability is at least `threshold`, one number or one a label."""
        logits = self(inputs)
        return logits >= logit(jnp.asarray(threshold, logits.dtype))
