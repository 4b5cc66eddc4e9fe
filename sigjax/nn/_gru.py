"""The gated recurrent unit."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array
from jax.nn.initializers import Initializer

from ..functional import sigmoid
from ..functional._sigmoid import SIGMOID
from ..initializers import chrono
from ._cell import GatedCell
from ._defaults import LECUN_NORMAL, ORTHOGONAL, ZEROS, tanh
from ._recurrence import Preactivations, partials, weighted


class GRUGates(NamedTuple):
    """The gates of a GRU, `[..., hidden_features]` each, in float32.

    Attributes:
      reset: how much of the state's product enters the candidate.
      update: how much of the old state is kept; 1 keeps all.
      candidate: the new state where nothing is kept.
    """

    reset: Array
    update: Array
    candidate: Array


@dataclasses.dataclass(frozen=True)
class _GRUUpdate:
    gate_fn: Callable[..., Any]
    activation_fn: Callable[..., Any]

    def combine(self, projected: Array, recurrent: Array) -> Preactivations:
        (r, z, n), (hr, hz, hn) = (jnp.split(part, 3, axis=-1) for part in (projected, recurrent))
        return r + hr, z + hz, n, hn

    def from_state(self, recurrent: Array) -> tuple[Array | None, ...]:
        hr, hz, hn = jnp.split(recurrent, 3, axis=-1)
        return hr, hz, None, hn

    def __call__(self, preactivations: Preactivations, carry: Array) -> tuple[Array, GRUGates]:
        r, z, n, hn = preactivations
        gate = SIGMOID if self.gate_fn is sigmoid else self.gate_fn
        reset, update = gate(r), gate(z)
        candidate = self.activation_fn(n + reset * hn)
        # 1 - sigma(z) is 0 in bfloat16 for z > 6.2; sigma(-z) is the same number, and is not.
        complement = SIGMOID(-z) if self.gate_fn is sigmoid else 1 - update
        return complement * candidate + update * carry, GRUGates(reset, update, candidate)

    def slopes(self, preactivations: Preactivations, carry: Array) -> tuple[Preactivations, Array]:
        return partials(lambda *given: self(*given)[0], preactivations, carry)

    def tangent(
        self,
        slopes: tuple[Preactivations, Array],
        dpreactivations: tuple[Array | None, ...],
        dcarry: Array | None,
    ) -> Array:
        by_preactivations, by_carry = slopes
        return weighted((*by_preactivations, by_carry), (*dpreactivations, dcarry))

    def hidden(self, carry: Array) -> Array:
        return carry


class GRUCell(GatedCell):
    r"""GRU whose gates keep learning when they are nearly shut, also in bfloat16.

    .. math::
        r = \sigma(W_{ir} x + W_{hr} h + b_r), \quad z = \sigma(W_{iz} x + W_{hz} h + b_z), \\
        n = \tanh(W_{in} x + b_n + r \odot (W_{hn} h + b_{hn})), \quad
        h' = \sigma(-a_z) \odot n + z \odot h

    with $a_z$ the pre-activation of $z$, and $b_{hn}$ if `hidden_bias`. Parameters, names and
    results are those of `flax.nnx.GRUCell`, which computes $1 - z$; there the complement of a gate
    that keeps the state for long is exactly 0 in bfloat16, and so is its gradient.

    A layer put in place of `dense_i` or `dense_h` (`flax.nnx.LoRALinear`, a quantised one) is
    called at every step.

    Args:
      in_features: of the inputs.
      hidden_features: of the state.
      max_time: if given, the update gates remember for up to as many steps: their biases are
        drawn by `initializers.chrono`, the others by `bias_init`.
      hidden_bias: whether `dense_h` has a bias, as those of torch, linen and Equinox have for
        the candidate ($b_{hn}$); what it adds to the other gates, $b$ could as well.
      gate_fn: of the gates; any but the default has its complement computed as $1 - z$.
      activation_fn: of the candidate.
      kernel_init, recurrent_kernel_init, bias_init: initialisers.
      dtype: of the matrix products (None: that of inputs and parameters). Sums, gates and state
        are float32 at least.
      param_dtype: of the parameters.
      precision: of the matrix products.
      promote_dtype: gives inputs and kernels one dtype.
      carry_init: of the first state; None for 0, which needs no random key.
      keep_rngs: whether to keep a stream of `rngs` for first states; Flax deprecates it.
      rngs: for the parameters.
      kernel_metadata, recurrent_kernel_metadata, bias_metadata: of each `nnx.Param`, e.g.
        its sharding.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> cell = GRUCell(3, 4, max_time=100, rngs=nnx.Rngs(0))
      >>> h = cell.initialize_carry((2, 3), nnx.Rngs(0))
      >>> h, y, gates = cell(h, jax.numpy.ones((2, 3)), return_gates=True)
      >>> y.shape, gates.update.shape
      ((2, 4), (2, 4))

    References:
      Cho et al. 2014, EMNLP 1724-1734, with the reset gate after the product as in cuDNN.
      Tallec & Ollivier 2018, ICLR (arXiv:1804.11188).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        max_time: float | int | None = None,
        hidden_bias: bool = False,
        gate_fn: Callable[..., Any] = sigmoid,
        activation_fn: Callable[..., Any] = tanh,
        kernel_init: Initializer = LECUN_NORMAL,
        recurrent_kernel_init: Initializer = ORTHOGONAL,
        bias_init: Initializer = ZEROS,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Callable[..., Any] = dtypes.promote_dtype,
        carry_init: Initializer | None = None,
        keep_rngs: bool = False,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        recurrent_kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self._configure(
            in_features,
            hidden_features,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            promote_dtype=promote_dtype,
            carry_init=carry_init,
            keep_rngs=keep_rngs,
            rngs=rngs,
        )
        self.gate_fn = gate_fn
        self.activation_fn = activation_fn
        self.dense_i = self._linear(
            in_features,
            3 * hidden_features,
            kernel_init=kernel_init,
            bias_init=bias_init,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
            rngs=rngs,
        )
        self.dense_h = self._linear(
            hidden_features,
            3 * hidden_features,
            use_bias=hidden_bias,
            kernel_init=recurrent_kernel_init,
            bias_init=bias_init,
            kernel_metadata=recurrent_kernel_metadata,
            bias_metadata=bias_metadata,
            rngs=rngs,
        )
        if max_time is not None:
            times = chrono(max_time)(rngs.params(), (hidden_features,), param_dtype)
            bias: Any = self.dense_i.bias
            bias[...] = bias[...].at[hidden_features : 2 * hidden_features].set(times)

    @property
    def update(self) -> _GRUUpdate:
        """The elementwise part of a step."""
        return _GRUUpdate(self.gate_fn, self.activation_fn)

    def _layers(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (self.dense_i,), (self.dense_h,)
