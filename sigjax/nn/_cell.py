"""What the gated cells share: their state in float32, their products in their dtype."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import zeros as _zeros
from jax.typing import ArrayLike

from ..functional._precision import computed_in
from ._recurrence import Carry, Gates, Update, advance, recurrence


class GatedCell(nnx.RNNCellBase):
    """A cell that `nnx.RNN` runs step by step, and `sigjax.nn.RNN` as one recurrence.

    The matrix products are made in `dtype`, as Flax makes them, but summed, biased and gated in
    float32 (float64 stays), and the state is kept in float32: a gate that keeps 99.9 % changes a
    bfloat16 state by less than half of its last digit, that is, never.
    """

    hidden_features: int
    dtype: Any
    param_dtype: Any
    precision: Any
    promote_dtype: Any

    @property
    def update(self) -> Update:
        """The elementwise part of a step."""
        raise NotImplementedError

    def _weights(self) -> tuple[Array, Array, Array]:
        """Input kernel, bias and recurrent kernel, the gates side by side."""
        raise NotImplementedError

    def _ready(self, inputs: ArrayLike) -> tuple[Array, tuple[Array, Array, Array], Any]:
        input_kernel, bias, recurrent_kernel = self._weights()
        require_features(type(self).__name__, inputs, input_kernel.shape[0])
        x, input_kernel, recurrent_kernel = self.promote_dtype(
            (inputs, input_kernel, recurrent_kernel), dtype=self.dtype
        )
        state = computed_in(x.dtype)
        return x, (input_kernel, bias.astype(state), recurrent_kernel), state

    def __call__(  # type: ignore[override]
        self, carry: Carry, inputs: ArrayLike, *, return_gates: bool = False
    ) -> tuple[Carry, Array] | tuple[Carry, Array, Gates]:
        """One step.

        Args:
          carry: the state, `[..., hidden_features]` each part; it keeps its dtype.
          inputs: `[..., in_features]`.
          return_gates: whether to return the gates too.

        Returns:
          The new state, the output `[..., hidden_features]` in the dtype of the products, and
          the gates if asked for.

        Raises:
          ValueError: if the inputs have another number of features.
        """
        x, weights, state = self._ready(inputs)
        wide = _cast(carry, state)
        _, new, gates = advance(self.update, self.precision, x, weights, wide)
        output = self.update.hidden(new).astype(x.dtype)
        new = _cast_like(new, carry)
        return (new, output, gates) if return_gates else (new, output)

    def sequence(
        self, carry: Carry, inputs: ArrayLike, *, return_gates: bool = False, unroll: int = 1
    ) -> tuple[Carry, Array, Gates]:
        """All steps of `inputs`, `[time, ..., in_features]`; the gates are None unless asked for.

        The same numbers as step by step; the reverse pass is a faster one of its own, so forward
        mode (`jax.jvp`) is for `nnx.RNN`.
        """
        x, weights, state = self._ready(inputs)
        steps, *batch, features = x.shape
        rows = math.prod(batch)
        flat = jax.tree.map(
            lambda part: part.astype(state).reshape(rows, self.hidden_features), carry
        )
        last, hidden, gates = recurrence(
            self.update,
            return_gates,
            self.precision,
            unroll,
            x.reshape(steps, rows, features),
            weights,
            flat,
        )
        shape = (*batch, self.hidden_features)
        last = jax.tree.map(lambda part: part.reshape(shape), last)
        hidden = hidden.reshape(steps, *shape).astype(x.dtype)
        if gates is not None:
            gates = jax.tree.map(lambda gate: gate.reshape(steps, *shape), gates)
        return last, hidden, gates

    def _initialize(self, input_shape, rngs, carry_init, parts: int) -> list[Array]:
        if rngs is None:
            raise ValueError(
                f"sigjax.nn.{type(self).__name__}.initialize_carry: argument 'rngs' must be an "
                "nnx.Rngs or RngStream, got None"
            )
        stream = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        shape = (*input_shape[:-1], self.hidden_features)
        computed = self.param_dtype if self.dtype is None else self.dtype
        dtype = computed_in(computed)
        return [(carry_init or _zeros)(stream(), shape, dtype) for _ in range(parts)]

    @property
    def num_feature_axes(self) -> int:
        """Of the inputs: one."""
        return 1


def _cast(carry: Carry, dtype: Any) -> Carry:
    return jax.tree.map(lambda part: part.astype(dtype), carry)


def _cast_like(carry: Carry, like: Carry) -> Carry:
    return jax.tree.map(lambda part, other: part.astype(other.dtype), carry, like)


def require_features(name: str, inputs: ArrayLike, features: int) -> None:
    """Raises ValueError if the last dimension is not that of the features."""
    if jnp.shape(inputs)[-1:] != (features,):
        raise ValueError(
            f"sigjax.nn.{name}: argument 'inputs' must have {features} features in its last "
            f"dimension, got shape {jnp.shape(inputs)}"
        )
