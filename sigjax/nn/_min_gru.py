"""A recurrence without a recurrent product: its gates depend on the input alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array, lax
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional import soft_switch
from ..functional._precision import computed_in
from ..functional._sigmoid import SIGMOID
from ..initializers import chrono
from ._cell import Cell, Steps, bias_of
from ._defaults import LECUN_NORMAL, ZEROS
from ._products import under
from ._recurrence import Resets, affine, aligned


class MinGRUGates(NamedTuple):
    """The gates of a MinGRU, `[..., hidden_features]` each, in float32.

    Attributes:
      update: how much of the candidate is taken; 0 keeps the state.
      candidate: what may be taken.
    """

    update: Array
    candidate: Array


def positive_candidate(x: Array) -> Array:
    r"""$x + \frac12$ for $x \ge 0$, $\sigma(x)$ otherwise: positive and continuous.

    Args:
      x: real floating, any shape.

    Returns:
      Array of the shape and dtype of `x`.

    Example:
      >>> print(positive_candidate(jnp.array([-1.0, 0.0, 1.0])).round(4))
      [0.2689 0.5    1.5   ]

    References:
      Feng et al. 2024 (arXiv:2410.01201), appendix B.
    """
    return jnp.where(x >= 0, x + 0.5, SIGMOID(x))


class MinGRU(Cell):
    r"""$h_t = (1 - z_t) \odot h_{t-1} + z_t \odot \tilde h_t$, computed for all $t$ at once.

    $z_t = \sigma(W_z x_t + b_z)$ and $\tilde h_t = g(W_h x_t + b_h)$ do not look at the state, so
    a sequence is a parallel scan of depth $\log_2 T$. The complement is $\sigma(-a_z)$ and the
    scan multiplies numbers in (0, 1) only: nothing overflows, and no logarithms are needed.

    In `sigjax.nn.RNN` the sequence is scanned in parallel, in `flax.nnx.RNN` step by step. A layer
    put in place of `dense_i` is called, in the former with all steps at once.

    Args:
      in_features: of the inputs.
      hidden_features: of the state.
      max_time: if given, the biases of the gates are minus those of `initializers.chrono`: a
        gate that is nearly shut keeps the state.
      activation_fn: $g$; the authors' `positive_candidate` unless given.
      kernel_init, bias_init: initialisers.
      dtype: of the matrix products; gates and state are float32 at least.
      param_dtype, precision, promote_dtype, carry_init, keep_rngs: as for `GRUCell`.
      rngs: for the parameters.
      kernel_metadata, bias_metadata: of each `nnx.Param`.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
      >>> h = cell.initialize_carry((2, 3), nnx.Rngs(0))
      >>> steps = cell.sequence(h, jax.numpy.ones((5, 2, 3)))
      >>> steps.last.shape, steps.outputs.shape
      ((2, 4), (5, 2, 4))

    References:
      Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, Were RNNs All We Needed?
      (arXiv:2410.01201), section 3.1.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        max_time: float | int | None = None,
        activation_fn: Callable[..., Any] = positive_candidate,
        kernel_init: Initializer = LECUN_NORMAL,
        bias_init: Initializer = ZEROS,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Callable[..., Any] = dtypes.promote_dtype,
        carry_init: Initializer | None = None,
        keep_rngs: bool = False,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
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
        self.activation_fn = activation_fn
        self.dense_i = self._linear(  # gate and candidate
            in_features,
            2 * hidden_features,
            kernel_init=kernel_init,
            bias_init=bias_init,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
            rngs=rngs,
        )
        if max_time is not None:
            times = chrono(max_time)(rngs.params(), (hidden_features,), param_dtype)
            bias: Any = self.dense_i.bias
            bias[...] = bias[...].at[:hidden_features].set(-times)

    def _project(self, inputs: ArrayLike) -> tuple[Array, Array, Any]:
        """Pre-activation of the gate, candidate, and the dtype of the outputs."""
        layer: Any = self.dense_i
        inputs = jnp.asarray(inputs)
        self.check_features(type(self).__name__, inputs)
        if self._is_plain(layer):
            x, (kernel,) = self._promoted(inputs, [layer.kernel[...]])
            state = computed_in(x.dtype)
            projected = affine(x, kernel, bias_of(layer, state), self.precision, state)
        else:
            x, _ = self._promoted(inputs, [])
            projected = layer(inputs).astype(computed_in(x.dtype))
        gate, candidate = jnp.split(projected, 2, axis=-1)
        return gate, self.activation_fn(candidate), x.dtype

    def __call__(  # type: ignore[override]
        self, carry: Array, inputs: ArrayLike, *, return_gates: bool = False
    ) -> tuple[Array, Array] | tuple[Array, Array, MinGRUGates]:
        """One step; arguments and results as for `GRUCell`."""
        gate, candidate, dtype = self._project(inputs)
        new = soft_switch(gate, candidate, carry.astype(gate.dtype))
        result = new.astype(carry.dtype), new.astype(dtype)
        return (*result, MinGRUGates(SIGMOID(gate), candidate)) if return_gates else result

    def _layers(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (self.dense_i,), ()

    def runs_at_once(self) -> bool:
        """Always: its gates do not look at the state."""
        return True

    def sequence(
        self,
        carry: Array,
        inputs: ArrayLike,
        *,
        resets: Resets | None = None,
        return_states: bool = False,
        return_gates: bool = False,
        unroll: int = 1,
    ) -> Steps:
        """All steps of `inputs`, `[time, ..., in_features]`; `unroll` has nothing to unroll."""
        gate, candidate, dtype = self._project(inputs)
        kept, taken = SIGMOID(-gate), SIGMOID(gate) * candidate
        if resets is not None:
            at = aligned(resets.at, kept)
            anew = under(resets.state.astype(kept.dtype), kept)
            taken = jnp.where(at, kept * anew + taken, taken)
            kept = jnp.where(at, 0, kept)

        def after(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
            return first[0] * second[0], second[0] * first[1] + second[1]

        kept, taken = lax.associative_scan(after, (kept, taken))
        states = kept * under(carry.astype(kept.dtype), kept) + taken
        return Steps(
            states[-1],
            states.astype(dtype),
            states if return_states else None,
            MinGRUGates(SIGMOID(gate), candidate) if return_gates else None,
        )
