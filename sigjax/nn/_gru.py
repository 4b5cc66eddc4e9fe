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
from ..initializers import chrono
from ._cell import GatedCell
from ._defaults import LECUN_NORMAL, ORTHOGONAL, ZEROS


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
    gate_fn: Callable[[Array], Array]
    activation_fn: Callable[[Array], Array]

    def combine(self, projected: Array, recurrent: Array) -> tuple[Array, ...]:
        (r, z, n), (hr, hz, hn) = (jnp.split(part, 3, axis=-1) for part in (projected, recurrent))
        return r + hr, z + hz, n, hn

    def spread(self, cotangents: tuple[Array, ...]) -> tuple[Array, Array]:
        r, z, n, hn = cotangents
        return jnp.concatenate([r, z, n], axis=-1), jnp.concatenate([r, z, hn], axis=-1)

    def __call__(self, preactivations: tuple[Array, ...], carry: Array) -> tuple[Array, GRUGates]:
        r, z, n, hn = preactivations
        reset, update = self.gate_fn(r), self.gate_fn(z)
        candidate = self.activation_fn(n + reset * hn)
        # 1 - sigma(z) is 0 in bfloat16 for z > 6.2; sigma(-z) is the same number, and is not.
        complement = sigmoid(-z) if self.gate_fn is sigmoid else 1 - update
        return complement * candidate + update * carry, GRUGates(reset, update, candidate)

    def hidden(self, carry: Array) -> Array:
        return carry

    def add_to_hidden(self, carry: Array, change: Array) -> Array:
        return carry + change


class GRUCell(GatedCell):
    r"""GRU whose gates keep learning when they are nearly shut, also in bfloat16.

    .. math::
        r = \sigma(W_{ir} x + W_{hr} h + b_r), \quad z = \sigma(W_{iz} x + W_{hz} h + b_z), \\
        n = \tanh(W_{in} x + b_n + r \odot W_{hn} h), \quad
        h' = \sigma(-a_z) \odot n + z \odot h

    with $a_z$ the pre-activation of $z$. Parameters, names and results are those of
    `flax.nnx.GRUCell`, which computes $1 - z$; there the complement of a gate that keeps the
    state for long is exactly 0 in bfloat16, and so is its gradient.

    Args:
      in_features: of the inputs.
      hidden_features: of the state.
      max_time: if given, the update gates remember for up to as many steps: their biases are
        drawn by `initializers.chrono`, the others by `bias_init`.
      gate_fn: of the gates; any but the default has its complement computed as $1 - z$.
      activation_fn: of the candidate.
      kernel_init, recurrent_kernel_init, bias_init: initialisers.
      dtype: of the matrix products (None: that of inputs and parameters). Sums, gates and state
        are float32 at least.
      param_dtype: of the parameters.
      precision: of the matrix products.
      promote_dtype: gives inputs and kernels one dtype.
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
        gate_fn: Callable[..., Any] = sigmoid,
        activation_fn: Callable[..., Any] = jnp.tanh,
        kernel_init: Initializer = LECUN_NORMAL,
        recurrent_kernel_init: Initializer = ORTHOGONAL,
        bias_init: Initializer = ZEROS,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Callable[..., Any] = dtypes.promote_dtype,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        recurrent_kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        self.promote_dtype = promote_dtype
        self.gate_fn = gate_fn
        self.activation_fn = activation_fn

        def dense(features: int, **options: Any) -> nnx.Linear:
            return nnx.Linear(
                features,
                3 * hidden_features,
                dtype=dtype,
                param_dtype=param_dtype,
                precision=precision,
                promote_dtype=promote_dtype,
                rngs=rngs,
                **options,
            )

        self.dense_i = dense(
            in_features,
            kernel_init=kernel_init,
            bias_init=bias_init,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )
        self.dense_h = dense(
            hidden_features,
            use_bias=False,
            kernel_init=recurrent_kernel_init,
            kernel_metadata=recurrent_kernel_metadata,
        )
        if max_time is not None:
            times = chrono(max_time)(rngs.params(), (hidden_features,), param_dtype)
            bias: Any = self.dense_i.bias
            bias[...] = bias[...].at[hidden_features : 2 * hidden_features].set(times)

    @property
    def update(self) -> _GRUUpdate:
        """The elementwise part of a step."""
        return _GRUUpdate(self.gate_fn, self.activation_fn)

    def _weights(self) -> tuple[Array, Array, Array]:
        bias: Any = self.dense_i.bias
        return self.dense_i.kernel[...], bias[...], self.dense_h.kernel[...]

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Initializer | None = None,
    ) -> Array:
        """A first state, 0 unless `carry_init` draws another, in float32 or wider.

        Raises:
          ValueError: without `rngs`.
        """
        return self._initialize(input_shape, rngs, carry_init, 1)[0]
