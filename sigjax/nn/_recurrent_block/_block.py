"""Griffin's recurrent block: what a layer of it has in the place of attention."""

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ...functional._messages import must
from ...functional._precision import computed_in
from .._cell import Cell, Steps
from .._defaults import LECUN_NORMAL, ZEROS
from .._options import LinearOptions
from .._recurrence import Resets
from .._rg_lru import MAX_RADIUS, MIN_RADIUS, RGLRU, RGLRUGates
from .._rnn import _has_sequence_of_its_own
from ._temporal_conv import TemporalConv

State = tuple[Array, Array]


def gelu(x: Array) -> Array:
    """`jax.nn.gelu`, by the tanh as in the authors' code."""
    return jax.nn.gelu(x, approximate=True)


class RecurrentBlock(Cell):
    r"""$W_o (\mathrm{gelu}(W_y x) \odot \mathrm{RGLRU}(\mathrm{conv}(W_x x)))$.

    One branch remembers by an `RGLRU` behind a short causal convolution, the other gates what it
    remembers. It is a cell for `sigjax.nn.RNN`, and its state is a pair: that of the recurrence,
    `[..., lru_features]`, and the last inputs of the convolution,
    `[..., conv_width - 1, lru_features]`. Called step by step with it, as one decodes, the block
    gives what it gives for the whole sequence. A reset empties both.

    Args:
      features: of inputs and outputs.
      num_heads: blocks of the gates of the `RGLRU`, a divisor of `lru_features`.
      lru_features: of both branches; `features` unless given.
      conv_width: steps that the convolution sees, at least 2.
      min_radius, max_radius: of the first values of the `RGLRU`.
      activation_fn: of the gating branch.
      conv_init: initialiser of the convolution's kernel, `[conv_width, lru_features]`.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`, for the three linear layers; the dtypes,
        `precision` and `promote_dtype` are also those of the recurrence.

    Raises:
      ValueError: if `conv_width` is less than 2, or the `RGLRU` refuses its arguments.

    Example:
      >>> import jax, sigjax.nn
      >>> from flax import nnx
      >>> block = RecurrentBlock(8, num_heads=2, lru_features=16, rngs=nnx.Rngs(0))
      >>> (state, window), outputs = sigjax.nn.RNN(block, return_carry=True)(
      ...     jax.numpy.ones((3, 5, 8))
      ... )
      >>> state.shape, window.shape, outputs.shape
      ((3, 16), (3, 3, 16), (3, 5, 8))

    References:
      De, Smith, Fernando, Botev et al. 2024, Griffin (arXiv:2402.19427), section 2.3.
    """

    def __init__(
        self,
        features: int,
        *,
        num_heads: int,
        lru_features: int | None = None,
        conv_width: int = 4,
        min_radius: float | int = MIN_RADIUS,
        max_radius: float | int = MAX_RADIUS,
        activation_fn: Callable[..., Any] = gelu,
        conv_init: Initializer = LECUN_NORMAL,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        if conv_width < 2:
            raise ValueError(
                must("conv_width", "be at least 2", conv_width, of="sigjax.nn.RecurrentBlock")
            )
        inside = features if lru_features is None else lru_features
        param_dtype = options.get("param_dtype", jnp.float32)
        shared: dict[str, Any] = {
            "dtype": options.get("dtype"),
            "param_dtype": param_dtype,
            "precision": options.get("precision"),
            "promote_dtype": options.get("promote_dtype", dtypes.promote_dtype),
            "rngs": rngs,
        }
        self._configure(features, features, carry_init=None, keep_rngs=False, **shared)
        self.lru_features = inside
        self.conv_width = conv_width
        self.activation_fn = activation_fn
        self.linear_y = nnx.Linear(features, inside, rngs=rngs, **options)
        self.linear_x = nnx.Linear(features, inside, rngs=rngs, **options)
        self.conv_1d = TemporalConv(
            inside,
            conv_width,
            kernel_init=conv_init,
            bias_init=ZEROS,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        radii: dict[str, Any] = {"min_radius": min_radius, "max_radius": max_radius}
        self.rg_lru = RGLRU(inside, num_heads=num_heads, **radii, **shared)
        self.linear_out = nnx.Linear(inside, features, rngs=rngs, **options)

    def __call__(  # type: ignore[override]
        self,
        carry: State,
        inputs: ArrayLike,
        *,
        reset: ArrayLike | None = None,
        return_gates: bool = False,
    ) -> tuple[State, Array] | tuple[State, Array, RGLRUGates]:
        """One step; arguments and results as for `RGLRU`, with a pair for a state."""
        state, window = carry
        starts = None if reset is None else jnp.asarray(reset)
        gating, x = self._branches(inputs)
        begun = None if starts is None else starts[None]
        (new_window,), (x,) = self.conv_1d(window, x[None], begun)
        # Another cell in its place may not know these.
        given: dict[str, Any] = {"reset": starts, "return_gates": return_gates or None}
        options = {name: value for name, value in given.items() if value is not None}
        found: Any = self.rg_lru(state, x, **options)
        state, x, *gates = found
        new = state, new_window.astype(window.dtype)
        return (new, self.linear_out(gating * x), *gates)

    def sequence(
        self,
        carry: State,
        inputs: ArrayLike,
        *,
        resets: Resets | None = None,
        return_states: bool = False,
        return_gates: bool = False,
        unroll: int = 1,
    ) -> Steps:
        """All steps of `inputs`, `[time, ..., features]`, at least one."""
        state, window = carry
        starts = None if resets is None else resets.at
        gating, x = self._branches(inputs)
        windows, x = self.conv_1d(window, x, starts)
        last, x, states, gates = self.rg_lru.sequence(
            state,
            x,
            resets=None if resets is None else Resets(resets.at, resets.state[0]),
            return_states=return_states,
            return_gates=return_gates,
            unroll=unroll,
        )
        outputs = self.linear_out(gating * x)
        whole = (states, windows) if return_states else None
        return Steps((last, windows[-1].astype(window.dtype)), outputs, whole, gates)

    def runs_at_once(self) -> bool:
        """Whether the recurrence does."""
        return _has_sequence_of_its_own(self.rg_lru) and self.rg_lru.runs_at_once()

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        carry_init: Initializer | None = None,
    ) -> State:
        """A first state of the recurrence, as `GRUCell` has it, and an empty window."""
        batch = input_shape[:-1]
        state = self.rg_lru.initialize_carry((*batch, self.lru_features), rngs, carry_init)
        dtype = computed_in(jnp.dtype(self.param_dtype if self.dtype is None else self.dtype))
        return state, jnp.zeros((*batch, self.conv_width - 1, self.lru_features), dtype)

    def _branches(self, inputs: ArrayLike) -> tuple[Array, Array]:
        """The gating branch, and the inputs of the convolution."""
        inputs = jnp.asarray(inputs)
        self.check_features(type(self).__name__, inputs)
        x, _ = self._promoted(inputs, [])
        return self.activation_fn(self.linear_y(inputs)), self.linear_x(inputs).astype(x.dtype)

    def _layers(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (self.linear_x, self.linear_y), ()
