"""One sigmoid neuron: logistic regression."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional import sigmoid
from ..initializers import prior_bias
from ._defaults import ZEROS


class SigmoidNeuron(nnx.Module):
    r"""The probability $\sigma(w \cdot x + b)$ of a yes.

    Weights start at 0, since the loss is convex: before training every example gets the
    probability `prior`.

    Args:
      in_features: of the inputs.
      prior: probability of a yes before training, in (0, 1); 1/2 if None.
      use_bias: whether there is a $b$.
      kernel_init, dtype, param_dtype, precision, rngs, kernel_metadata, bias_metadata: as for
        `flax.nnx.Linear`.

    Raises:
      ValueError: if `prior` is given without a bias, or is not strictly between 0 and 1.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> neuron = SigmoidNeuron(3, prior=0.9, rngs=nnx.Rngs(0))
      >>> print(neuron(jax.numpy.ones((2, 3))))
      [0.9 0.9]
    """

    def __init__(
        self,
        in_features: int,
        *,
        prior: float | None = None,
        use_bias: bool = True,
        kernel_init: Initializer = ZEROS,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Any = dtypes.promote_dtype,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        if prior is not None and not use_bias:
            raise ValueError(
                "sigjax.nn.SigmoidNeuron: argument 'prior' sets the bias, which use_bias=False "
                "leaves out; give one of them"
            )
        self.linear = nnx.Linear(
            in_features,
            1,
            use_bias=use_bias,
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

    def logits(self, inputs: ArrayLike) -> Array:
        """Log-odds `[...]` of inputs `[..., in_features]`: what a loss should be given."""
        return self.linear(jnp.asarray(inputs))[..., 0]

    def __call__(self, inputs: ArrayLike) -> Array:
        """Probabilities `[...]` of inputs `[..., in_features]`."""
        return sigmoid(self.logits(inputs))
