"""Long short-term memory."""

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
from ._defaults import BLOCKWISE_ORTHOGONAL, LECUN_NORMAL, ZEROS

LSTMCarry = tuple[Array, Array]


class LSTMGates(NamedTuple):
    """The gates of an LSTM, `[..., hidden_features]` each, in float32.

    Attributes:
      input: how much of the candidate enters the memory.
      forget: how much of the memory is kept; 1 keeps all.
      candidate: what may enter.
      output: how much of the memory is shown.
    """

    input: Array
    forget: Array
    candidate: Array
    output: Array


@dataclasses.dataclass(frozen=True)
class _LSTMUpdate:
    gate_fn: Callable[[Array], Array]
    activation_fn: Callable[[Array], Array]

    def combine(self, projected: Array, recurrent: Array) -> tuple[Array, ...]:
        return tuple(jnp.split(projected + recurrent, 4, axis=-1))

    def spread(self, cotangents: tuple[Array, ...]) -> tuple[Array, Array]:
        joint = jnp.concatenate(cotangents, axis=-1)
        return joint, joint

    def __call__(
        self, preactivations: tuple[Array, ...], carry: LSTMCarry
    ) -> tuple[LSTMCarry, LSTMGates]:
        i, f, g, o = preactivations
        gates = LSTMGates(self.gate_fn(i), self.gate_fn(f), self.activation_fn(g), self.gate_fn(o))
        memory = gates.forget * carry[0] + gates.input * gates.candidate
        return (memory, gates.output * self.activation_fn(memory)), gates

    def hidden(self, carry: LSTMCarry) -> Array:
        return carry[1]

    def add_to_hidden(self, carry: LSTMCarry, change: Array) -> LSTMCarry:
        return carry[0], carry[1] + change


class LSTMCell(GatedCell):
    r"""LSTM that keeps its memory in float32 and learns in bfloat16.

    .. math::
        i, f, o = \sigma(W_{i\cdot} x + W_{h\cdot} h + b_\cdot), \quad
        g = \tanh(W_{ig} x + W_{hg} h + b_g), \quad
        c' = f \odot c + i \odot g, \quad h' = o \odot \tanh c'

    Parameters, names and results are those of `flax.nnx.LSTMCell`; its state is $(c, h)$.

    Args:
      in_features: of the inputs.
      hidden_features: of the state.
      max_time: if given, the memory is kept for up to as many steps: biases of the forget gates
        are drawn by `initializers.chrono`, those of the input gates are their negatives.
      forget_bias_init: of the forget gates' biases; None for `bias_init`. Not with `max_time`.
      gate_fn, activation_fn, kernel_init, recurrent_kernel_init, bias_init: as for `GRUCell`.
      dtype, param_dtype, precision, promote_dtype, rngs: as there.
      kernel_metadata, recurrent_kernel_metadata, bias_metadata: as there.

    Raises:
      ValueError: if both `max_time` and `forget_bias_init` are given.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> cell = LSTMCell(3, 4, forget_bias_init=jax.nn.initializers.ones, rngs=nnx.Rngs(0))
      >>> carry = cell.initialize_carry((2, 3), nnx.Rngs(0))
      >>> (c, h), y = cell(carry, jax.numpy.ones((2, 3)))
      >>> c.shape, y.shape
      ((2, 4), (2, 4))

    References:
      Hochreiter & Schmidhuber 1997, Neural Computation 9(8):1735-1780. Gers, Schmidhuber &
      Cummins 2000, Neural Computation 12:2451-2471. Jozefowicz, Zaremba & Sutskever 2015, ICML
      2342-2350 (forget bias). Tallec & Ollivier 2018, ICLR (arXiv:1804.11188).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        max_time: float | int | None = None,
        forget_bias_init: Initializer | None = None,
        gate_fn: Callable[..., Any] = sigmoid,
        activation_fn: Callable[..., Any] = jnp.tanh,
        kernel_init: Initializer = LECUN_NORMAL,
        recurrent_kernel_init: Initializer = BLOCKWISE_ORTHOGONAL,
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
        if max_time is not None and forget_bias_init is not None:
            raise ValueError(
                "sigjax.nn.LSTMCell: arguments 'max_time' and 'forget_bias_init' both set the "
                "forget gates' biases; give one of them"
            )
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
                hidden_features,
                dtype=dtype,
                param_dtype=param_dtype,
                precision=precision,
                promote_dtype=promote_dtype,
                rngs=rngs,
                **options,
            )

        def from_input() -> nnx.Linear:
            return dense(
                in_features,
                use_bias=False,
                kernel_init=kernel_init,
                kernel_metadata=kernel_metadata,
            )

        def from_state(bias: Initializer = bias_init) -> nnx.Linear:
            return dense(
                hidden_features,
                kernel_init=recurrent_kernel_init,
                bias_init=bias,
                kernel_metadata=recurrent_kernel_metadata,
                bias_metadata=bias_metadata,
            )

        # Flax's names; `if` is a word of the language
        self.ii, self.if_, self.ig, self.io = (from_input() for _ in range(4))
        self.hi = from_state()
        self.hf = from_state(forget_bias_init or bias_init)
        self.hg, self.ho = from_state(), from_state()
        if max_time is not None:
            times = chrono(max_time)(rngs.params(), (hidden_features,), param_dtype)
            forget, admit = _bias(self.hf), _bias(self.hi)
            forget[...], admit[...] = times, -times

    @property
    def update(self) -> _LSTMUpdate:
        """The elementwise part of a step."""
        return _LSTMUpdate(self.gate_fn, self.activation_fn)

    def _weights(self) -> tuple[Array, Array, Array]:
        def join(parameters) -> Array:
            return jnp.concatenate([parameter[...] for parameter in parameters], axis=-1)

        from_input = (self.ii, self.if_, self.ig, self.io)
        from_state = (self.hi, self.hf, self.hg, self.ho)
        return (
            join(linear.kernel for linear in from_input),
            join(map(_bias, from_state)),
            join(linear.kernel for linear in from_state),
        )

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Initializer | None = None,
    ) -> LSTMCarry:
        """A first state, 0 unless `carry_init` draws another, in float32 or wider.

        Raises:
          ValueError: without `rngs`.
        """
        memory, hidden = self._initialize(input_shape, rngs, carry_init, 2)
        return memory, hidden


def _bias(linear: nnx.Linear) -> Any:
    return linear.bias
