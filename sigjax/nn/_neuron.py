"""One sigmoid neuron: logistic regression."""

from typing import Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from ..functional import sigmoid
from ._defaults import ZEROS
from ._options import LinearOptions, with_prior


class SigmoidNeuron(nnx.Module):
    r"""The probability $\sigma(w \cdot x + b)$ of a yes.

    Weights start at 0, since the loss is convex: before training every example gets the
    probability `prior`.

    Args:
      in_features: of the inputs.
      prior: probability of a yes before training, in (0, 1); 1/2 if None.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`; `kernel_init` is 0 unless given.

    Raises:
      ValueError: if `prior` is given without a bias or beside `bias_init`, or is not strictly
        between 0 and 1.

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
        prior: ArrayLike | None = None,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        options = {"kernel_init": ZEROS, **with_prior("SigmoidNeuron", prior, options)}
        self.linear = nnx.Linear(in_features, 1, rngs=rngs, **options)

    def logits(self, inputs: ArrayLike) -> Array:
        """Log-odds `[...]` of inputs `[..., in_features]`: what a loss should be given."""
        return self.linear(jnp.asarray(inputs))[..., 0]

    def __call__(self, inputs: ArrayLike) -> Array:
        """Probabilities `[...]` of inputs `[..., in_features]`."""
        return sigmoid(self.logits(inputs))
