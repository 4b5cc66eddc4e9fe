"""A linear recurrence whose decay and whose input are gated by the input."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array
from jax.nn.initializers import Initializer, lecun_normal
from jax.typing import ArrayLike

from ...functional._complement import sigmoid_and_complement
from ...functional._messages import must
from ...functional._precision import computed_in
from .._cell import Cell, Steps, require_features
from .._defaults import ZEROS
from .._mesh import settled
from .._products import under
from .._recurrence import Resets
from ._blocks import BlockLinear
from ._forgetting import log_scale
from ._ring import ring
from ._sequence import Given, Logits, Options, Weights, logits_of, one_step, run

_LECUN_NORMAL_OF_A_BLOCK = lecun_normal(batch_axis=(0,))
# The radii of RecurrentGemma's code, google-deepmind/recurrentgemma.
MIN_RADIUS, MAX_RADIUS = 0.9, 0.999


class RGLRUGates(NamedTuple):
    """The gates of an RGLRU, `[..., features]` each, in float32.

    Attributes:
      recurrence: how much of the unit's own rate of forgetting applies; 0 keeps the state.
      input: how much of the input is taken.
      log_decay: logarithm of the factor of the state; -1 over it is the memory in steps.
    """

    recurrence: Array
    input: Array
    log_decay: Array


class RGLRU(Cell):
    r"""$h_t = a_t \odot h_{t-1} + \sqrt{1 - a_t^2} \odot (i_t \odot x_t)$; gates see $x_t$ alone.

    $r_t = \sigma(W_a x_t + b_a)$, $i_t = \sigma(W_x x_t + b_x)$ with block-diagonal $W$, and
    $\log a_t = -8\, r_t\, \mathrm{softplus}(\Lambda)$. The authors' code makes $1 - a^2$ in the
    dtype of the inputs, where it may be 0, and clips the root's derivative. Here gates, decay and
    state are float32 at least, and the derivatives are closed forms in $\log(-\log a)$, which are
    finite for memories of any length. $1 - a$ is kept rather than $a$, so that no unit has
    $a = 1$.

    It is a cell for `sigjax.nn.RNN`, which takes `resets`, `seq_lengths`, a first state and
    `reverse`. A reset sets $a$ to 0 and the multiplier of the input to 1. RecurrentGemma counts the
    first step of a sequence as one, which is marked in `resets` here. (A subclass with a `__call__`
    of its own is run step by step; there a reset replaces the state alone.) Sequences are run in
    chunks, whose gates the reverse pass makes again, so that no array of a whole sequence is kept
    but the inputs and outputs. Within a chunk a CPU takes the steps one after the other, which
    writes each state once; a GPU or TPU scans them in parallel.

    Args:
      features: of inputs, state and outputs.
      num_heads: blocks of the gates' kernels, a divisor of `features`.
      min_radius, max_radius: $e^{-\mathrm{softplus}(\Lambda)}$ is drawn uniformly by area from the
        ring between them. A half-open gate remembers about $1/(4 (1 - \mathrm{radius}))$ steps: 2
        to 250 unless given.
      kernel_init, bias_init: of the gates, of the shapes `[num_heads, width, width]` and
        `[num_heads, width]`; LeCun's for each block, and 0, unless given.
      dtype: of the matrix products and of the outputs; gates and state are float32 at least.
      param_dtype, precision, promote_dtype: as for `flax.nnx.Linear`.
      rngs: for the parameters.
      a_param_metadata, kernel_metadata, bias_metadata: of each `nnx.Param`.

    Raises:
      ValueError: if `num_heads` does not divide `features`, or the radii are not in order in
        (0, 1).

    Example:
      >>> import jax, sigjax.nn
      >>> from flax import nnx
      >>> rnn = sigjax.nn.RNN(RGLRU(8, num_heads=2, rngs=nnx.Rngs(0)))
      >>> outputs, gates = rnn(jax.numpy.ones((3, 5, 8)), return_gates=True)
      >>> outputs.shape, gates.log_decay.shape
      ((3, 5, 8), (3, 5, 8))

    References:
      De, Smith, Fernando, Botev et al. 2024, Griffin (arXiv:2402.19427), section 2.4.
      Orvieto, Smith, Gu et al. 2023, Resurrecting Recurrent Neural Networks for Long Sequences
      (arXiv:2303.06349), on the ring.
    """

    def __init__(
        self,
        features: int,
        *,
        num_heads: int,
        min_radius: float | int = MIN_RADIUS,
        max_radius: float | int = MAX_RADIUS,
        kernel_init: Initializer = _LECUN_NORMAL_OF_A_BLOCK,
        bias_init: Initializer = ZEROS,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        promote_dtype: Callable[..., Any] = dtypes.promote_dtype,
        rngs: nnx.Rngs,
        a_param_metadata: Mapping[str, Any] = MappingProxyType({}),
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        if num_heads < 1 or features % num_heads:
            raise ValueError(
                must(
                    "num_heads",
                    f"be a divisor of the {features} features",
                    num_heads,
                    of="sigjax.nn.RGLRU",
                )
            )
        self._configure(
            features,
            features,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            promote_dtype=promote_dtype,
            carry_init=None,
            keep_rngs=False,
            rngs=rngs,
        )

        def gate() -> BlockLinear:
            return BlockLinear(
                features,
                num_heads,
                kernel_init=kernel_init,
                bias_init=bias_init,
                dtype=dtype,
                param_dtype=param_dtype,
                precision=precision,
                promote_dtype=promote_dtype,
                kernel_metadata=kernel_metadata,
                bias_metadata=bias_metadata,
                rngs=rngs,
            )

        draw = ring(min_radius, max_radius)
        self.a_param = nnx.Param(draw(rngs.params(), (features,), param_dtype), **a_param_metadata)
        self.input_gate = gate()
        self.a_gate = gate()

    def __call__(  # type: ignore[override]
        self,
        carry: Array,
        inputs: ArrayLike,
        *,
        reset: ArrayLike | None = None,
        return_gates: bool = False,
    ) -> tuple[Array, Array] | tuple[Array, Array, RGLRUGates]:
        """One step.

        Args:
          carry: the state, `[..., features]`; it keeps its dtype.
          inputs: of that shape.
          reset: bool, `[...]`: whether a sequence starts here.
          return_gates: whether to return the gates too.

        Returns:
          The new state, the output in the dtype of the products, and the gates if asked for.

        Raises:
          ValueError: if the inputs have another number of features.
        """
        starts = None if reset is None else jnp.asarray(reset)
        options, weights, given = self._ready(inputs, starts, whole=False)
        new = one_step(options, weights, carry.astype(weights.log_scale.dtype), given)
        result = new.astype(carry.dtype), new.astype(options.dtype)
        return (*result, self._gates(options, weights, given)) if return_gates else result

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
        """All steps of `inputs`, `[time, ..., features]`, at least one.

        A reset forgets the state, whatever `resets.state` is; `unroll` has nothing to unroll.
        """
        starts = None if resets is None else resets.at
        options, weights, given = self._ready(inputs, starts, whole=return_states)
        at_first = jax.tree.map(lambda array: array[0], given)

        def after(state: Array) -> Array:
            return one_step(options, weights, state, at_first)

        first = settled(carry.astype(weights.log_scale.dtype), after, weights, given)
        gates = self._gates(options, weights, given) if return_gates else None
        last, outputs, states = run(options, weights, first, given)
        return Steps(last, outputs, states, gates)

    def runs_at_once(self) -> bool:
        """Always: its gates do not look at the state."""
        return True

    def check_features(self, name: str, inputs: ArrayLike) -> None:
        """Raises ValueError unless the inputs have as many features as the state."""
        require_features(name, inputs, self.in_features)

    def _layers(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (self.a_gate, self.input_gate), ()

    def _ready(
        self, inputs: ArrayLike, starts: Array | None, *, whole: bool
    ) -> tuple[Options, Weights, Given]:
        """What the steps are made of; layers that are not plain are called here."""
        inputs = jnp.asarray(inputs)
        self.check_features(type(self).__name__, inputs)
        gates, _ = self._layers()
        x, _ = self._promoted(inputs, [])
        wide = computed_in(x.dtype)
        kernel = bias = logits = None
        if all(self._is_a_block_linear(gate) for gate in gates):
            kernel, bias = (
                jnp.concatenate([part[...].astype(wide) for part in parts], axis=-1)
                for parts in ([g.kernel for g in gates], [g.bias for g in gates])
            )
        else:
            recurrence, entry = (gate(inputs).astype(wide) for gate in gates)
            logits = recurrence, entry
        weights = Weights(log_scale(self.a_param[...].astype(wide)), kernel, bias)
        return Options(x.dtype, self.precision, whole), weights, Given(x, logits, starts)

    def _is_a_block_linear(self, gate: Any) -> bool:
        """Whether a gate's parameters say all, as `_is_plain` says it of a Linear."""
        return (
            type(gate) is BlockLinear
            and isinstance(gate.kernel.get_value(), Array)
            and (gate.dtype, gate.precision) == (self.dtype, self.precision)
            and gate.promote_dtype == self.promote_dtype
        )

    def _gates(self, options: Options, weights: Weights, given: Given) -> RGLRUGates:
        x = given.x.astype(weights.log_scale.dtype)
        logits: Logits = given.logits or logits_of(options, weights, x)
        recurrence, entry = (sigmoid_and_complement(z)[0] for z in logits)
        scale = under(jnp.exp(weights.log_scale), recurrence)
        return RGLRUGates(recurrence, entry, -scale * recurrence)
