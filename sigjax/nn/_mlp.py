"""A plain network of any depth, compiled as one layer."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from ..functional import sigmoid
from ..functional._messages import must
from ._options import LinearOptions
from ._stack import through

_must = functools.partial(must, of="sigjax.nn.MLP")

Norm = Literal["batch", "layer"]


class _Layer(nnx.Module):
    """Linear, normalisation, activation, and the inputs added if residual."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        activation: Callable[..., Any],
        norm: Norm | None,
        norm_options: Mapping[str, Any],
        residual: bool,
        rngs: nnx.Rngs,
        options: LinearOptions,
    ):
        self.linear = nnx.Linear(inputs, outputs, rngs=rngs, **options)
        self.norm = nnx.data(None)
        if norm is not None:
            kind = nnx.BatchNorm if norm == "batch" else nnx.LayerNorm
            self.norm = kind(outputs, rngs=rngs, **norm_options)
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
      activation: elementwise function; the sigmoid unless given. Of one that is a module
        (`flax.nnx.PReLU()`) each layer has a copy of its own.
      norm: "batch" or "layer" normalisation before each activation, or None.
      norm_options: further arguments of `flax.nnx.BatchNorm` or `flax.nnx.LayerNorm`.
      residual: whether each layer but the first adds its inputs to its outputs.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`, for every layer. Where metadata name the
        axes of a kernel, the stack's first axis is not sharded.

    Layers may be replaced, and what is put in their place is called. For `first.linear` and `last`
    it may be any layer; for `stack.linear` its variables must have a further first axis, of the
    layers of the stack, as `flax.nnx.vmap` makes them.

    Raises:
      ValueError: if `depth` is below 1, `norm` unknown, or there are `norm_options` for none.

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
        norm_options: Mapping[str, Any] = MappingProxyType({}),
        residual: bool = False,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        if depth < 1:
            raise ValueError(_must("depth", "be at least 1", depth))
        if norm not in (None, "batch", "layer"):
            raise ValueError(_must("norm", "be None, 'batch' or 'layer'", repr(norm)))
        if norm is None and norm_options:
            raise ValueError(_must("norm_options", "come with 'norm'", "none"))
        shared = {
            name: value
            for name, value in options.items()
            if name in ("dtype", "param_dtype", "promote_dtype")
        }

        def layer(inputs: int, residual: bool, rngs: nnx.Rngs, index: ArrayLike) -> _Layer:
            return _Layer(
                inputs,
                hidden_features,
                activation=_of_layer(activation, index),
                norm=norm,
                norm_options={**shared, **norm_options},
                residual=residual,
                rngs=rngs,
                options=options,
            )

        self.first = layer(in_features, False, rngs, 0)
        self.stack = nnx.data(None)
        if depth > 1:
            self.stack = nnx.vmap(
                lambda rngs, index: layer(hidden_features, residual, rngs, index),
                transform_metadata={nnx.PARTITION_NAME: None},
            )(rngs.split(depth - 1), jnp.arange(1, depth))
        self.last = nnx.Linear(hidden_features, out_features, rngs=rngs, **options)

    def __call__(self, inputs: ArrayLike) -> Array:
        """Outputs `[..., out_features]` of inputs `[..., in_features]`."""
        hidden = self.first(jnp.asarray(inputs))
        if self.stack is not None:
            hidden = through(self.stack, hidden)
        return self.last(hidden)


def _of_layer(activation: Callable[..., Any], index: ArrayLike) -> Callable[..., Any]:
    """A function as it is; a module's copy, with random numbers of its own."""
    if not isinstance(activation, nnx.Module):
        return activation
    graph, keys, *others = nnx.split(activation, nnx.RngKey, ...)
    keys = jax.tree.map(lambda key: jax.random.fold_in(key, index), keys)
    return nnx.merge(graph, keys, *others, copy=True)
