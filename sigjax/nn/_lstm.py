"""Long short-term memory."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array
from jax.nn.initializers import Initializer

from ..functional import sigmoid
from ..functional._messages import must
from ..functional._sigmoid import SIGMOID
from ..initializers import chrono
from ._cell import GatedCell
from ._defaults import BLOCKWISE_ORTHOGONAL, LECUN_NORMAL, ZEROS, tanh
from ._recurrence import Preactivations, partials, weighted

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
    gate_fn: Callable[..., Any]
    activation_fn: Callable[..., Any]

    def combine(self, projected: Array, recurrent: Array) -> Preactivations:
        return self.from_state(projected + recurrent)

    def from_state(self, recurrent: Array) -> Preactivations:
        return tuple(jnp.unstack(recurrent, axis=-2))

    def __call__(
        self, preactivations: Preactivations, carry: LSTMCarry
    ) -> tuple[LSTMCarry, LSTMGates]:
        i, f, g, o = preactivations
        gate = SIGMOID if self.gate_fn is sigmoid else self.gate_fn
        gates = LSTMGates(gate(i), gate(f), self.activation_fn(g), gate(o))
        memory = gates.forget * carry[0] + gates.input * gates.candidate
        return (memory, gates.output * self.activation_fn(memory)), gates

    def slopes(self, preactivations: Preactivations, carry: LSTMCarry) -> tuple[Any, Any]:
        # Of the hidden part by way of the new memory: six slopes, not the nine of both parts.
        *others, o = preactivations

        def new_memory(others: Sequence[Array], memory: Array) -> Array:
            return self((*others, o), (memory, carry[1]))[0][0]

        def shown(o: Array, memory: Array) -> Array:
            gate = SIGMOID if self.gate_fn is sigmoid else self.gate_fn
            return gate(o) * self.activation_fn(memory)

        memory = new_memory(others, carry[0])
        return partials(new_memory, others, carry[0]), partials(shown, o, memory)

    def tangent(
        self,
        slopes: tuple[Any, Any],
        dpreactivations: tuple[Array | None, ...],
        dcarry: LSTMCarry | None,
    ) -> LSTMCarry:
        (by_others, by_memory), by_output_and_memory = slopes
        *others, output = dpreactivations
        before = None if dcarry is None else dcarry[0]
        memory = weighted((*by_others, by_memory), (*others, before))
        return memory, weighted(by_output_and_memory, (output, memory))

    def hidden(self, carry: LSTMCarry) -> Array:
        return carry[1]


class LSTMCell(GatedCell):
    r"""LSTM that keeps its memory in float32 and learns in bfloat16.

    .. math::
        i, f, o = \sigma(W_{i\cdot} x + W_{h\cdot} h + b_\cdot), \quad
        g = \tanh(W_{ig} x + W_{hg} h + b_g), \quad
        c' = f \odot c + i \odot g, \quad h' = o \odot \tanh c'

    Parameters, names and results are those of `flax.nnx.LSTMCell`; its state is $(c, h)$. A layer
    put in place of one of its eight (`flax.nnx.LoRALinear`, a quantised one) is called at every
    step.

    Args:
      in_features: of the inputs.
      hidden_features: of the state.
      max_time: if given, the memory is kept for up to as many steps: biases of the forget gates
        are drawn by `initializers.chrono`, those of the input gates are their negatives.
      forget_bias_init: of the forget gates' biases; None for `bias_init`. Not with `max_time`.
      gate_fn, activation_fn, kernel_init, recurrent_kernel_init, bias_init: as for `GRUCell`.
      dtype, param_dtype, precision, promote_dtype, carry_init, keep_rngs, rngs: as there.
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
        activation_fn: Callable[..., Any] = tanh,
        kernel_init: Initializer = LECUN_NORMAL,
        recurrent_kernel_init: Initializer = BLOCKWISE_ORTHOGONAL,
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
        if max_time is not None and forget_bias_init is not None:
            raise ValueError(
                must(
                    ("max_time", "forget_bias_init"),
                    "not both set the forget gates' biases",
                    "both; give one of them",
                    of="sigjax.nn.LSTMCell",
                )
            )
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

        def from_input() -> nnx.Linear:
            return self._linear(
                in_features,
                hidden_features,
                use_bias=False,
                kernel_init=kernel_init,
                kernel_metadata=kernel_metadata,
                rngs=rngs,
            )

        def from_state(bias: Initializer = bias_init) -> nnx.Linear:
            return self._linear(
                hidden_features,
                hidden_features,
                kernel_init=recurrent_kernel_init,
                bias_init=bias,
                kernel_metadata=recurrent_kernel_metadata,
                bias_metadata=bias_metadata,
                rngs=rngs,
            )

        # Flax's names; `if` is a word of the language
        self.ii, self.if_, self.ig, self.io = (from_input() for _ in range(4))
        self.hi = from_state()
        self.hf = from_state(forget_bias_init or bias_init)
        self.hg, self.ho = from_state(), from_state()
        if max_time is not None:
            times = chrono(max_time)(rngs.params(), (hidden_features,), param_dtype)
            forget: Any = self.hf.bias
            admit: Any = self.hi.bias
            forget[...], admit[...] = times, -times

    @property
    def update(self) -> _LSTMUpdate:
        """The elementwise part of a step."""
        return _LSTMUpdate(self.gate_fn, self.activation_fn)

    def _first_state(self, draw: Callable[[], Array]) -> LSTMCarry:
        return draw(), draw()

    def _layers(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (self.ii, self.if_, self.ig, self.io), (self.hi, self.hf, self.hg, self.ho)
