"""The last layer of a classifier whose labels do not exclude each other."""

from collections.abc import Sequence
from typing import Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from ..functional import logit, sigmoid
from ..functional._messages import must
from ..functional._precision import computed_in
from ._defaults import SMALL_NORMAL
from ._options import LinearOptions, with_prior


class MultiLabelHead(nnx.Module):
    r"""Independent probabilities $\sigma(W x + b)_k$, one a label.

    A softmax shares one unit of probability out: with $k$ labels true at once each gets at most
    $1/k$. Sigmoids say what they know of each label.

    Args:
      in_features: of the inputs.
      num_labels: $K$.
      prior: frequency of the labels before training, in (0, 1): one number or $K$; None for 1/2.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`; `kernel_init` is small unless given,
        standard deviation 0.01, so that the prior is what the network starts with.

    Raises:
      ValueError: if `prior` is not strictly between 0 and 1, or neither one number nor $K$, or
        given without a bias or beside `bias_init`.

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
        prior: ArrayLike | Sequence[ArrayLike] | None = None,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        shape = jnp.shape(jnp.asarray(0.5 if prior is None else prior))
        if shape not in ((), (1,), (num_labels,)):
            raise ValueError(
                must(
                    "prior",
                    f"be one number or {num_labels}, one a label",
                    f"shape {shape}",
                    of="sigjax.nn.MultiLabelHead",
                )
            )
        options = {"kernel_init": SMALL_NORMAL, **with_prior("MultiLabelHead", prior, options)}
        self.linear = nnx.Linear(in_features, num_labels, rngs=rngs, **options)

    def __call__(self, inputs: ArrayLike) -> Array:
        """Logits `[..., num_labels]` of inputs `[..., in_features]`, for a loss."""
        return self.linear(jnp.asarray(inputs))

    def probabilities(self, inputs: ArrayLike) -> Array:
        """Probability of each label, `[..., num_labels]`."""
        return sigmoid(self(inputs))

    def predict(self, inputs: ArrayLike, threshold: ArrayLike | Sequence[ArrayLike] = 0.5) -> Array:
        """Whether each label's probability is at least `threshold`, one number or one a label.

        Compared in float32 at least: in bfloat16 a threshold of 0.999 would be 1.
        """
        logits = self(inputs)
        wide = computed_in(logits.dtype)
        return logits.astype(wide) >= logit(jnp.asarray(threshold, wide))
