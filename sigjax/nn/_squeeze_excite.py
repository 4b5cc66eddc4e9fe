"""Gates on the channels of an image."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from ..functional import sigmoid
from ..functional._messages import must
from ..functional._precision import computed_in
from ._cell import require_features
from ._defaults import relu
from ._options import LinearOptions

_must = functools.partial(must, of="sigjax.nn.SqueezeExcite")


class SqueezeExcite(nnx.Module):
    r"""Scales each channel by $s = \sigma(W_2\, \mathrm{relu}(W_1 z))$, $z$ its mean over space.

    Args:
      features: channels $C$, the last dimension of the inputs.
      reduction: $r$; there are $C/r$ units between, and $2C^2/r$ parameters.
      squeeze_features: how many units are between, whatever `reduction` is; $C/r$ if None.
      spatial_axes: axes to average over; None for all but the first and the last, whatever the
        rank: `[N, W, C]`, `[N, H, W, C]`, `[N, D, H, W, C]`.
      gate_fn, activation_fn: of the gates and of the units between.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`, for both products; `use_bias` is False
        unless given, as in the paper's ablations. Means and gates are float32 at least.

    Raises:
      TypeError: if what counts features or axes is not an integer.
      ValueError: unless `reduction` divides `features` and both are at least 1, or if
        `spatial_axes` is empty.

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
        squeeze_features: int | None = None,
        spatial_axes: int | Sequence[int] | None = None,
        gate_fn: Callable[..., Any] = sigmoid,
        activation_fn: Callable[..., Any] = relu,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        features = _count("features", features)
        if squeeze_features is None:
            reduction = _count("reduction", reduction)
            if features % reduction:
                raise ValueError(
                    _must(
                        "reduction",
                        f"divide the {features} features",
                        f"{reduction}; 'squeeze_features' takes any number",
                    )
                )
            squeeze_features = features // reduction
        between = _count("squeeze_features", squeeze_features)
        options = {"use_bias": False, **options}
        self.features = features
        self.spatial_axes = None if spatial_axes is None else _axes(spatial_axes)
        self.gate_fn = gate_fn
        self.activation_fn = activation_fn
        self.dtype = options.get("dtype") or options.get("param_dtype", jnp.float32)
        self.squeeze = nnx.Linear(features, between, rngs=rngs, **options)
        self.excite = nnx.Linear(between, features, rngs=rngs, **options)

    def __call__(self, inputs: ArrayLike, *, return_gates: bool = False) -> Any:
        """Scales `inputs`, `[N, ..., C]`.

        Args:
          inputs: at least three dimensions, unless `spatial_axes` says which to average over.
            Whole numbers and booleans are averaged as numbers.
          return_gates: whether to return the gates, `inputs`' shape without space, too.

        Raises:
          TypeError: if the inputs are complex.
          ValueError: if there is no space to average over, or another number of features.
        """
        inputs = jnp.asarray(inputs)
        require_features("SqueezeExcite", inputs, self.features)
        axes = self._spatial_axes_of(inputs)
        if jnp.issubdtype(inputs.dtype, jnp.complexfloating):
            raise TypeError(_must("inputs", "be real", f"dtype {inputs.dtype.name}"))
        wide = computed_in(inputs.dtype)
        whole = not jnp.issubdtype(inputs.dtype, jnp.floating)
        mean = jnp.mean(inputs, axis=axes, dtype=wide).astype(self.dtype if whole else inputs.dtype)
        logits = self.excite(self.activation_fn(self.squeeze(mean)))
        gates = self.gate_fn(logits.astype(wide))
        scaled = (inputs.astype(wide) * jnp.expand_dims(gates, axes)).astype(logits.dtype)
        return (scaled, gates) if return_gates else scaled

    def _spatial_axes_of(self, inputs: Array) -> tuple[int, ...]:
        rank = inputs.ndim
        if self.spatial_axes is None:
            if rank < 3:
                raise ValueError(
                    _must(
                        "inputs",
                        "have spatial dimensions between the first and the last",
                        f"shape {inputs.shape}",
                    )
                )
            return tuple(range(1, rank - 1))
        axes = tuple(axis + rank if axis < 0 else axis for axis in self.spatial_axes)
        if len(set(axes)) < len(axes) or not set(axes) <= set(range(rank - 1)):
            raise ValueError(
                _must(
                    "spatial_axes",
                    "be different axes of the inputs other than the last",
                    f"{self.spatial_axes} for shape {inputs.shape}",
                )
            )
        return axes


def _axes(spatial_axes: int | Sequence[int]) -> tuple[int, ...]:
    if not isinstance(spatial_axes, Sequence):
        spatial_axes = (spatial_axes,)
    axes = tuple(_integer("spatial_axes", axis) for axis in spatial_axes)
    if not axes:
        raise ValueError(
            _must(
                "spatial_axes",
                "name spatial dimensions to average over, or be None for all of them",
                "none",
            )
        )
    return axes


def _count(name: str, value: int) -> int:
    count = _integer(name, value)
    if count < 1:
        raise ValueError(_must(name, "be at least 1", count))
    return count


def _integer(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise TypeError(_must(name, "be an integer", repr(value))) from error
