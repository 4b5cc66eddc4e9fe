"""A plain network of any depth, compiled as one layer."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array, lax
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional import sigmoid
from ._defaults import LECUN_NORMAL, ZEROS

Norm = Literal["batch", "layer"]


class _Layer(nnx.Module):
    """Linear, normalisation, activation, and the inputs added if residual."""

    def __init__(
        self, inputs: int, outputs: int, activation, norm, residual, rngs, dense, norm_dtypes
    ):
        self.linear = nnx.Linear(inputs, outputs, rngs=rngs, **dense)
        self.norm = nnx.data(None)
        if norm is not None:
            kind = nnx.BatchNorm if norm == "batch" else nnx.LayerNorm
            self.norm = kind(outputs, rngs=rngs, **norm_dtypes)
        self.activation = activation
        self.residual = residual

    def __call__(self, x: Array) -> Array:
        y = self.linear(x)
        if self.norm is not None:
            y = self.norm(y)
        y = self.activation(y)
        return x.astype(y.dtype) + y if self.residual else y


class MLP(nnx.Module):
    r"""Fully connected network with `depth` hidden layers of equal width.

    The layers from the second on are one stack of parameters `[depth - 1, ...]` that is scanned,
    so that compiling takes as long for a thousand layers as for two.

    Args:
      in_features, hidden_features, out_features: of inputs, every hidden layer, and outputs.
      depth: hidden layers, at least 1.
      activation: elementwise function; the sigmoid unless given.
      norm: "batch" or "layer" normalisation before each activation, or None.
      residual: whether each layer but the first adds its inputs to its outputs.
      kernel_init, bias_init, dtype, param_dtype, precision, rngs: as for `flax.nnx.Linear`, for
        every layer.
      kernel_metadata, bias_metadata: as there. Where they name the axes of a kernel, the stack's
        first axis is not sharded.

    Raises:
      ValueError: if `depth` is below 1 or `norm` unknown.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> model = MLP(4, 16, 2, depth=50, norm="layer", residual=True, rngs=nnx.Rngs(0))
      >>> model(jax.numpy.ones((3, 4))).shape, model.stack.linear.kernel.shape
      ((3, 2), (49, 16, 16))
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int,
        *,
        depth: int,
        activation: Callable[..., Any] = sigmoid,
        norm: Norm | None = None,
        residual: bool = False,
        kernel_init: Initializer = LECUN_NORMAL,
        bias_init: Initializer = ZEROS,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Any = dtypes.promote_dtype,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        if depth < 1:
            raise ValueError(f"sigjax.nn.MLP: argument 'depth' must be at least 1, got {depth}")
        if norm not in (None, "batch", "layer"):
            raise ValueError(
                f"sigjax.nn.MLP: argument 'norm' must be None, 'batch' or 'layer', got {norm!r}"
            )
        dense: dict[str, Any] = {
            "kernel_init": kernel_init,
            "bias_init": bias_init,
            "dtype": dtype,
            "param_dtype": param_dtype,
            "precision": precision,
            "promote_dtype": promote_dtype,
            "kernel_metadata": kernel_metadata,
            "bias_metadata": bias_metadata,
        }
        norm_dtypes = {"dtype": dtype, "param_dtype": param_dtype}

        def layer(inputs: int, residual: bool, rngs: nnx.Rngs) -> _Layer:
            return _Layer(
                inputs, hidden_features, activation, norm, residual, rngs, dense, norm_dtypes
            )

        self.first = layer(in_features, False, rngs)
        self.stack = nnx.data(None)
        if depth > 1:
            self.stack = nnx.vmap(
                lambda rngs: layer(hidden_features, residual, rngs),
                transform_metadata={nnx.PARTITION_NAME: None},
            )(rngs.split(depth - 1))
        self.last = nnx.Linear(hidden_features, out_features, rngs=rngs, **dense)

    def __call__(self, inputs: ArrayLike) -> Array:
        """Outputs `[..., out_features]` of inputs `[..., in_features]`."""
        hidden = self.first(jnp.asarray(inputs))
        if self.stack is not None:
            hidden = self._through_stack(hidden)
        return self.last(hidden)

    def _through_stack(self, hidden: Array) -> Array:
        graph, statistics, *others = nnx.split(self.stack, nnx.BatchStat, ...)

        def step(hidden: Array, states: Any) -> tuple[Array, Any]:
            layer: Any = nnx.merge(graph, *states, copy=True)
            hidden = layer(hidden)
            return hidden, nnx.state(layer, nnx.BatchStat)

        hidden, statistics = lax.scan(step, hidden, (statistics, *others))
        if jax.tree.leaves(statistics):
            nnx.update(self.stack, statistics)
        return hidden
