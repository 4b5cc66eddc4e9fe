"""Gates on the channels of an image."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional import sigmoid
from ..functional._precision import computed_in
from ._defaults import LECUN_NORMAL


class SqueezeExcite(nnx.Module):
    r"""Scales each channel by $s = \sigma(W_2\, \mathrm{relu}(W_1 z))$, $z$ its mean over space.

    Args:
      features: channels $C$, the last dimension of the inputs.
      reduction: $r$; there are $C/r$ units between, and $2C^2/r$ parameters.
      spatial_axes: axes to average over; None for all but the first and the last, whatever the
        rank: `[N, W, C]`, `[N, H, W, C]`, `[N, D, H, W, C]`.
      use_bias: whether the two products have biases; the paper's ablations leave them out.
      gate_fn, activation_fn: of the gates and of the units between.
      kernel_init, dtype, param_dtype, precision, rngs, kernel_metadata: as for
        `flax.nnx.Linear`. Means and gates are float32 at least.

    Raises:
      ValueError: unless `reduction` divides `features`.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> block = SqueezeExcite(64, reduction=16, rngs=nnx.Rngs(0))
      >>> y, gates = block(jax.numpy.ones((2, 8, 8, 64)), return_gates=True)
      >>> y.shape, gates.shape
      ((2, 8, 8, 64), (2, 64))

    References:
      Hu, Shen & Sun 2018, CVPR 7132-7141; with Albanie & Wu, arXiv:1709.01507, equation 3.
    """

    def __init__(
        self,
        features: int,
        *,
        reduction: int = 16,
        spatial_axes: Sequence[int] | None = None,
        use_bias: bool = False,
        gate_fn: Callable[..., Any] = sigmoid,
        activation_fn: Callable[..., Any] = nnx.relu,
        kernel_init: Initializer = LECUN_NORMAL,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Any = dtypes.promote_dtype,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        if reduction < 1 or features % reduction:
            raise ValueError(
                "sigjax.nn.SqueezeExcite: argument 'reduction' must divide the "
                f"{features} features, got {reduction}"
            )
        self.spatial_axes = None if spatial_axes is None else tuple(spatial_axes)
        self.gate_fn = gate_fn
        self.activation_fn = activation_fn

        def dense(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(
                inputs,
                outputs,
                use_bias=use_bias,
                kernel_init=kernel_init,
                dtype=dtype,
                param_dtype=param_dtype,
                precision=precision,
                promote_dtype=promote_dtype,
                rngs=rngs,
                kernel_metadata=kernel_metadata,
            )

        self.squeeze = dense(features, features // reduction)
        self.excite = dense(features // reduction, features)

    def __call__(self, inputs: ArrayLike, *, return_gates: bool = False) -> Any:
        """Scales `inputs`, `[N, ..., C]`.

        Args:
          inputs: at least three dimensions, unless `spatial_axes` says which to average over.
          return_gates: whether to return the gates, `inputs`' shape without space, too.

        Raises:
          ValueError: if there is no space to average over.
        """
        inputs = jnp.asarray(inputs)
        axes = self.spatial_axes
        if axes is None:
            axes = tuple(range(1, inputs.ndim - 1))
        if not axes:
            raise ValueError(
                "sigjax.nn.SqueezeExcite: argument 'inputs' must have spatial dimensions between "
                f"the first and the last, got shape {inputs.shape}"
            )
        wide = computed_in(inputs.dtype)
        mean = jnp.mean(inputs, axis=axes, dtype=wide).astype(inputs.dtype)
        logits = self.excite(self.activation_fn(self.squeeze(mean)))
        gates = self.gate_fn(logits.astype(wide))
        scaled = (inputs.astype(wide) * jnp.expand_dims(gates, axes)).astype(logits.dtype)
        return (scaled, gates) if return_gates else scaled
