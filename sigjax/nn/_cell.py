"""What the cells share: layers that are called, a first state of zeros, a state in float32."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional._messages import must
from ..functional._precision import computed_in
from ._mesh import settled
from ._products import Precision
from ._recurrence import (
    Carry,
    Gates,
    Options,
    Resets,
    Update,
    Weights,
    advance,
    affine,
    recurrence,
    states_before,
)

_KEEP_RNGS = "keep_rngs argument is deprecated. Please use rngs argument in __call__ instead"
_CARRY_INIT = (
    "carry_init is provided in __init__. Please, use carry_init argument in `initialize_carry` "
    "method instead to initialize the carry. Otherwise, two instances with same configuration but "
    "different carry_init functions will have different graphdefs."
)


class Steps(NamedTuple):
    """What a cell makes of a sequence.

    Attributes:
      last: the last state, in the dtype it is kept in.
      outputs: `[time, ..., hidden_features]`.
      states: the state after every step, or None.
      gates: of every step, or None.
    """

    last: Carry
    outputs: Array
    states: Carry | None
    gates: Gates | None


class Cell(nnx.RNNCellBase):
    """A cell of linear layers that `nnx.RNN` runs step by step, and `sigjax.nn.RNN` at once."""

    in_features: int
    hidden_features: int
    dtype: Any
    param_dtype: Any
    precision: Precision
    promote_dtype: Callable[..., Any]
    carry_init: Initializer | None

    def _configure(
        self,
        in_features: int,
        hidden_features: int,
        *,
        dtype: Any,
        param_dtype: Any,
        precision: Precision,
        promote_dtype: Callable[..., Any],
        carry_init: Initializer | None,
        keep_rngs: bool,
        rngs: nnx.Rngs,
    ) -> None:
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision
        self.promote_dtype = promote_dtype
        self.carry_init = carry_init
        if carry_init is not None:
            warnings.warn(_CARRY_INIT, stacklevel=3)  # Flax's own words and category
        if keep_rngs:
            warnings.warn(_KEEP_RNGS, stacklevel=3)
        self.rngs = rngs.carry.fork() if keep_rngs else nnx.data(None)

    def _linear(self, in_features: int, out_features: int, **options: Any) -> nnx.Linear:
        """A linear layer with the cell's dtypes."""
        return nnx.Linear(
            in_features,
            out_features,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            promote_dtype=self.promote_dtype,
            **options,
        )

    def sequence(
        self,
        carry: Carry,
        inputs: ArrayLike,
        *,
        resets: Resets | None = None,
        return_states: bool = False,
        return_gates: bool = False,
        unroll: int = 1,
    ) -> Steps:
        """All steps of `inputs`, `[time, ..., in_features]`: the same numbers as step by step."""
        raise NotImplementedError

    def runs_at_once(self) -> bool:
        """Whether `sequence` may be used: not if a layer must be called at every step."""
        raise NotImplementedError

    def _layers(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The layers of the inputs and of the state: one of all gates, or one a gate."""
        raise NotImplementedError

    def check_features(self, name: str, inputs: ArrayLike) -> None:
        """Raises ValueError if the inputs have other features than a plain layer multiplies."""
        layer = self._layers()[0][0]
        if self._is_plain(layer):
            require_features(name, inputs, layer.in_features)

    def _is_plain(self, layer: Any) -> bool:
        """Whether a layer's parameters say all: anything but Flax's own Linear is called."""
        return (
            type(layer) is nnx.Linear
            and layer.dot_general is lax.dot_general
            and layer.preferred_element_type is None
            and isinstance(layer.kernel.get_value(), Array)
            and (layer.dtype, layer.precision) == (self.dtype, self.precision)
            and layer.promote_dtype == self.promote_dtype
        )

    def _promoted(self, inputs: ArrayLike, kernels: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Inputs and kernels in the dtype of the products, as Flax chooses it."""
        factors = kernels or [jnp.zeros((), self.param_dtype)]
        x, *promoted = self.promote_dtype((inputs, *factors), dtype=self.dtype)
        return x, promoted[: len(kernels)]

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Initializer | None = None,
    ) -> Carry:
        """A first state, 0 unless `carry_init` draws another, in float32 or wider.

        Raises:
          ValueError: if it is to be drawn and there are no `rngs`.
        """
        shape = (*input_shape[:-1], self.hidden_features)
        dtype = computed_in(jnp.dtype(self.param_dtype if self.dtype is None else self.dtype))
        drawn = self.carry_init if carry_init is None else carry_init
        if drawn is None:
            return self._first_state(lambda: jnp.zeros(shape, dtype))
        stream = self.rngs if rngs is None else rngs
        stream = stream.carry if isinstance(stream, nnx.Rngs) else stream
        if stream is None:
            raise ValueError(
                must(
                    "rngs",
                    "be an nnx.Rngs or RngStream where 'carry_init' is given",
                    "None",
                    of=f"sigjax.nn.{type(self).__name__}.initialize_carry",
                )
            )
        return self._first_state(lambda: drawn(stream(), shape, dtype))

    def _first_state(self, draw: Callable[[], Array]) -> Carry:
        """The state of which each part is drawn once."""
        return draw()

    @property
    def num_feature_axes(self) -> int:
        """Of the inputs: one."""
        return 1


class GatedCell(Cell):
    """A cell whose gates see the state.

    The matrix products are made in `dtype`, as Flax makes them, but summed, biased and gated in
    float32 (float64 stays), and the state is kept in float32: a gate that keeps 99.9 % changes a
    bfloat16 state by less than half of its last digit, that is, never.

    A layer that is no plain `flax.nnx.Linear` is called at every step, and what it returns is
    widened.
    """

    @property
    def update(self) -> Update:
        """The elementwise part of a step."""
        raise NotImplementedError

    def runs_at_once(self) -> bool:
        """Whether all layers are plain."""
        return all(self._is_plain(layer) for layers in self._layers() for layer in layers)

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
        if self.runs_at_once():
            x, weights, state = self._ready(inputs)
            _, new, gates = advance(self.update, self.precision, weights, _cast(carry, state), x)
        else:
            x, new, gates = self._called(carry, inputs)
        output = self.update.hidden(new).astype(x.dtype)
        new = cast_like(new, carry)
        return (new, output, gates) if return_gates else (new, output)

    def widened(self, carry: Carry, inputs: Array) -> Carry:
        """A state in the dtype that it is kept in for inputs of this dtype."""
        x, _ = self._promoted(jnp.zeros((), inputs.dtype), [])
        return _cast(carry, computed_in(x.dtype))

    def _called(self, carry: Carry, inputs: ArrayLike) -> tuple[Array, Carry, Gates]:
        """A step of which at least one layer is not plain."""
        inputs = jnp.asarray(inputs)
        x, _ = self._promoted(inputs, [])
        carry = _cast(carry, computed_in(x.dtype))
        hidden = self.update.hidden(carry)

        def through(layer: Any, given: Array) -> Array:
            if not self._is_plain(layer):
                return layer(given).astype(hidden.dtype)
            given, (kernel,) = self._promoted(given, [layer.kernel[...]])
            return affine(given, kernel, bias_of(layer, hidden.dtype), self.precision, hidden.dtype)

        of_input, of_state = self._layers()
        preactivations = self.update.combine(
            _joined([through(layer, inputs) for layer in of_input]),
            _joined([through(layer, hidden.astype(x.dtype)) for layer in of_state]),
        )
        return x, *self.update(preactivations, carry)

    def sequence(
        self,
        carry: Carry,
        inputs: ArrayLike,
        *,
        resets: Resets | None = None,
        return_states: bool = False,
        return_gates: bool = False,
        unroll: int = 1,
    ) -> Steps:
        """All steps of `inputs`, `[time, ..., in_features]`, at least one, of plain layers."""
        x, weights, state = self._ready(inputs)
        first = _cast(carry, state)
        if resets is not None:
            resets = Resets(resets.at, _cast(resets.state, state))
        update = self.update

        def after(first: Carry) -> Carry:
            return advance(update, self.precision, weights, first, x[0])[1]

        first = settled(first, after, weights, x)
        if resets is not None:
            resets = Resets(resets.at, settled(resets.state, after, weights, x))
        whole = return_states or return_gates
        last, states, preactivations = recurrence(
            update,
            Options(whole, return_gates, self.precision, unroll),
            weights,
            first,
            x,
            resets,
        )
        gates = None
        if preactivations is not None:
            _, gates = update(preactivations, states_before(first, states, resets))
        outputs = (update.hidden(states) if whole else states).astype(x.dtype)
        return Steps(last, outputs, states if return_states else None, gates)

    def _ready(self, inputs: ArrayLike) -> tuple[Array, Weights, Any]:
        """Inputs and weights in the dtype of the products, and the dtype of the state."""
        self.check_features(type(self).__name__, inputs)
        of_input, of_state = self._layers()
        kernels = [_joined([layer.kernel[...] for layer in layers]) for layers in self._layers()]
        x, (input_kernel, recurrent_kernel) = self._promoted(inputs, kernels)
        state = computed_in(x.dtype)
        weights = Weights(
            input_kernel, _biases(of_input, state), recurrent_kernel, _biases(of_state, state)
        )
        return x, weights, state


def _joined(parts: Sequence[Array]) -> Array:
    """Kernels, biases or outputs of one layer a gate, the gates along an axis of their own.

    Not side by side: arrays whose units are sharded would have to be exchanged for that.
    """
    return parts[0] if len(parts) == 1 else jnp.stack(parts, axis=-2)


def bias_of(layer: Any, dtype: Any) -> Array | None:
    """The bias of a linear layer, if it has one."""
    return None if layer.bias is None else layer.bias[...].astype(dtype)


def _biases(layers: Sequence[Any], dtype: Any) -> Array | None:
    biases = [bias_of(layer, dtype) for layer in layers]
    given = [bias for bias in biases if bias is not None]
    if not given:
        return None
    return _joined([jnp.zeros_like(given[0]) if bias is None else bias for bias in biases])


def _cast(carry: Carry, dtype: Any) -> Carry:
    return jax.tree.map(lambda part: jnp.asarray(part).astype(dtype), carry)


def cast_like(carry: Carry, like: Carry) -> Carry:
    """A state in the dtypes of another."""
    return jax.tree.map(lambda part, other: part.astype(jnp.result_type(other)), carry, like)


def require_features(name: str, inputs: ArrayLike, features: int) -> None:
    """Raises ValueError if the last dimension is not that of the features."""
    if jnp.shape(inputs)[-1:] != (features,):
        raise ValueError(
            must(
                "inputs",
                f"have {features} features in its last dimension",
                f"shape {jnp.shape(inputs)}",
                of=f"sigjax.nn.{name}",
            )
        )
