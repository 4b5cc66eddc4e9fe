"""Layers that choose, softly, between two answers."""

from collections.abc import Callable
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import constant as _constant
from jax.typing import ArrayLike

from ..functional import sigmoid, soft_switch
from ..functional._messages import must
from ._defaults import relu
from ._options import LinearOptions, of_one_column


class SoftSwitch(nnx.Module):
    r"""$y = g \odot (W_1 x + b_1) + (1 - g) \odot (W_2 x + b_2)$ with $g = \sigma(W_g x + b_g)$.

    Two linear models and a learned, differentiable decision between them.

    Args:
      in_features, out_features: of inputs and outputs.
      gate_features: 1 for one gate an example, `out_features` for one an output.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`, for all three. The blend is made in
        float32 at least. A single gate is not split over devices, whatever the metadata say.

    Raises:
      ValueError: if `gate_features` is neither 1 nor `out_features`.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> layer = SoftSwitch(3, 2, rngs=nnx.Rngs(0))
      >>> y, gate = layer(jax.numpy.ones((5, 3)), return_gates=True)
      >>> y.shape, gate.shape
      ((5, 2), (5, 1))

    References:
      Jacobs, Jordan, Nowlan & Hinton 1991, Neural Computation 3:79-87, with two experts.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gate_features: int = 1,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        if gate_features not in (1, out_features):
            raise ValueError(
                must(
                    "gate_features",
                    f"be 1 or the {out_features} out_features",
                    gate_features,
                    of="sigjax.nn.SoftSwitch",
                )
            )

        of_gate = options if gate_features == out_features else of_one_column(options)
        self.gate = nnx.Linear(in_features, gate_features, rngs=rngs, **of_gate)
        self.on = nnx.Linear(in_features, out_features, rngs=rngs, **options)
        self.off = nnx.Linear(in_features, out_features, rngs=rngs, **options)

    def __call__(self, inputs: ArrayLike, *, return_gates: bool = False) -> Any:
        """Outputs `[..., out_features]`, and the gates `[..., gate_features]` if asked for."""
        inputs = jnp.asarray(inputs)
        logits = self.gate(inputs)
        blend = soft_switch(logits, self.on(inputs), self.off(inputs))
        return (blend, sigmoid(logits)) if return_gates else blend


class Highway(nnx.Module):
    r"""$y = T \odot H(x) + (1 - T) \odot x$ with $T = \sigma(W_T x + b_T)$.

    The carry gate $1 - T$ lets what comes in pass, and the gradient with it, through any depth.

    Args:
      features: of inputs and outputs.
      activation_fn: $H(x) = \mathrm{activation}(W_H x + b_H)$.
      transform_bias: $b_T$ at first; negative, so that a new layer passes most through.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`; `use_bias` and `bias_init` are those of
        $b_H$. The blend is made in float32 at least.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> layer = Highway(4, transform_bias=-40.0, rngs=nnx.Rngs(0))
      >>> print(layer(jax.numpy.arange(4.0)))
      [0. 1. 2. 3.]

    References:
      Srivastava, Greff & Schmidhuber 2015, Training Very Deep Networks, NIPS 28
      (arXiv:1507.06228), equation 3; biases of -1 to -3.
    """

    def __init__(
        self,
        features: int,
        *,
        activation_fn: Callable[..., Any] = relu,
        transform_bias: ArrayLike = -2.0,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        of_gate: LinearOptions = {
            **options,
            "use_bias": True,
            "bias_init": _constant(transform_bias),
        }
        self.activation_fn = activation_fn
        self.transform = nnx.Linear(features, features, rngs=rngs, **options)
        self.gate = nnx.Linear(features, features, rngs=rngs, **of_gate)

    def __call__(self, inputs: ArrayLike, *, return_gates: bool = False) -> Any:
        """Outputs `[..., features]`, and the transform gates of that shape if asked for."""
        inputs = jnp.asarray(inputs)
        logits = self.gate(inputs)
        new = self.activation_fn(self.transform(inputs))
        blend = soft_switch(logits, new, inputs.astype(new.dtype))
        return (blend, sigmoid(logits)) if return_gates else blend
