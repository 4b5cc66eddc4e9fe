"""Initialisers that know what a sigmoid, or a gate made of it, will do.

Each function returns a `jax.nn.initializers.Initializer`: called with `(key, shape, dtype)`.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn.initializers import Initializer
from jax.nn.initializers import constant as _constant
from jax.nn.initializers import orthogonal as _orthogonal
from jax.nn.initializers import variance_scaling as _variance_scaling
from jax.typing import ArrayLike, DTypeLike

from .functional import logit
from .functional._arguments import check_numbers
from .functional._messages import must
from .functional._precision import computed_in
from .theory import critical_weight_std

__all__ = ["chrono", "critical", "orthogonal_gain", "prior_bias"]

Activation = Callable[[Array], Array]


def prior_bias(probability: ArrayLike | Sequence[ArrayLike]) -> Initializer:
    r"""Bias $\log\frac{p}{1-p}$ of an output whose sigmoid should start at $p$.

    With weights that start small the first losses then teach which example is positive, not
    how many are: at 1 % positives the cross-entropy starts at 0.056, not at $\log 2 = 0.693$.

    Args:
      probability: $p$ in (0, 1): a number, or one per output, broadcast to the bias's shape. A
        traced one gives NaN outside [0, 1].

    Returns:
      Initialiser of a constant.

    Raises:
      ValueError: if a probability, unless traced, is not strictly between 0 and 1.

    Example:
      >>> import jax
      >>> print(f"{prior_bias(0.9)(jax.random.key(0), (1,))[0]:.7f}")
      2.1972246

    References:
      Lin, Goyal, Girshick, He & Dollár 2017, ICCV 2980-2988, section 4.1.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(probability)):
        return _constant(logit(jnp.asarray(probability)))
    check_numbers(probability=probability)
    p = np.asarray(probability, np.float64)
    if not np.all((p > 0) & (p < 1)):
        raise ValueError(
            must(
                "probability",
                "be strictly between 0 and 1",
                probability,
                of="sigjax.initializers.prior_bias",
            )
        )
    # Now, whatever is being traced or mapped, and in float64: 0.9 is not a float32.
    with jax.core.eval_context(), jax.enable_x64(True):
        bias = np.asarray(logit(p))
    return _constant(bias)


def chrono(max_time: float | int, min_time: float | int = 2.0) -> Initializer:
    r"""Bias $b \sim \log U(T_{min} - 1, T_{max} - 1)$ of a gate that keeps a state.

    A gate $\sigma(b)$ forgets within $1/(1 - \sigma(b)) = 1 + e^b$ steps, which is then uniform
    between the two times. It is the forget gate's bias in an LSTM, whose input gate takes
    $-b$, and the update gate's in a GRU that keeps where the gate is 1 (`GRUCell`).

    Args:
      max_time: $T_{max}$, the longest time to remember, in steps.
      min_time: $T_{min}$, the shortest.

    Returns:
      Initialiser, one independent draw per unit.

    Raises:
      TypeError: for what is no number.
      ValueError: unless $2 \le T_{min} < T_{max}$ (below 2, a gate would forget rather than keep).

    Example:
      >>> import jax
      >>> bias = chrono(1000)(jax.random.key(0), (10_000,))
      >>> print(f"{1 + jax.numpy.exp(bias).max():.0f}")  # steps until it is forgotten
      1000

    References:
      Tallec & Ollivier 2018, ICLR (arXiv:1804.11188), section 3.
    """
    for name, value in (("min_time", min_time), ("max_time", max_time)):
        check_numbers(**{name: value})
        if np.ndim(value):
            raise TypeError(must(name, "be a number", f"an array of shape {np.shape(value)}"))
    if not 2 <= min_time < max_time < math.inf:
        raise ValueError(
            must(
                ("min_time", "max_time"),
                "satisfy 2 <= min_time < max_time",
                f"min_time={min_time} and max_time={max_time}",
                of="sigjax.initializers.chrono",
            )
        )

    def initialize(key: Array, shape, dtype: DTypeLike, out_sharding=None) -> Array:
        return jnp.log(
            jax.random.uniform(
                key, shape, dtype, min_time - 1, max_time - 1, out_sharding=out_sharding
            )
        )

    return rounded_once(initialize)


def critical(activation: Activation, bias_std: float | int = 0.0) -> Initializer:
    r"""Gaussian kernel at the edge of chaos: gradients neither vanish nor explode.

    Variance $\sigma_w^2 / \text{fan in}$, with $\sigma_w$ such that $\chi_1 = 1$ for this
    activation and biases of standard deviation `bias_std`, by `theory.critical_weight_std`.

    Args:
      activation: elementwise function.
      bias_std: $\sigma_b$ that the biases are drawn with (`jax.nn.initializers.normal`).

    Returns:
      Initialiser of kernels `[..., in, out]`.

    Raises:
      TypeError: for an activation that is no function, or a `bias_std` that is no number.
      ValueError: if no $\sigma_w$ between 0.1 and 100 is critical for this activation.

    Example:
      For tanh without biases it is LeCun's rule, 1/sqrt(fan in):

      >>> import jax
      >>> kernel = critical(jax.numpy.tanh)(jax.random.key(0), (1024, 1024))
      >>> print(f"{32 * kernel.std():.2f}")
      1.00

    References:
      Schoenholz et al. 2017, ICLR (arXiv:1611.01232).
    """
    gain = _critical_gain("critical", activation, bias_std)
    return rounded_once(_variance_scaling(gain**2, "fan_in", "normal"))


def orthogonal_gain(activation: Activation, bias_std: float | int = 0.0) -> Initializer:
    r"""Orthogonal kernel scaled to criticality: all singular values are $\sigma_w$.

    The spectrum of a product of such layers stays narrow, where that of Gaussian layers of the
    same variance widens with depth.

    Args:
      activation: elementwise function.
      bias_std: $\sigma_b$ that the biases are drawn with.

    Returns:
      Initialiser of kernels `[..., in, out]`; a kernel with more outputs than inputs is scaled
      by $\sqrt{out/in}$ more, so that the variance of what comes out does not depend on it.

    Raises:
      TypeError: for an activation that is no function, or a `bias_std` that is no number.
      ValueError: if no $\sigma_w$ between 0.1 and 100 is critical for this activation.

    Example:
      >>> import jax
      >>> kernel = orthogonal_gain(jax.nn.relu)(jax.random.key(0), (64, 64))
      >>> print(f"{jax.numpy.linalg.norm(kernel, 2):.4f}")
      1.4142

    References:
      Saxe, McClelland & Ganguli 2014, ICLR (arXiv:1312.6120). Pennington, Schoenholz & Ganguli
      2017, NIPS 30 (arXiv:1711.04735).
    """
    gain = _critical_gain("orthogonal_gain", activation, bias_std)
    orthogonal = _orthogonal(gain)

    def initialize(key: Array, shape, dtype: DTypeLike, out_sharding=None) -> Array:
        *receptive, inputs, outputs = shape
        fan_in = math.prod(receptive) * inputs
        kernel = orthogonal(key, shape, dtype, out_sharding)
        return kernel * math.sqrt(max(1, outputs / fan_in)) if fan_in else kernel

    return rounded_once(initialize)


def rounded_once(initializer: Callable[..., Array]) -> Initializer:
    """Draws what is narrower than float32 in float32, and rounds it.

    `jax.random` has too few bfloat16 numbers for a long tail, and `jnp.linalg` decomposes no
    16-bit matrix.
    """

    def initialize(key: Array, shape, dtype: DTypeLike | None = None, out_sharding=None) -> Array:
        dtype = jnp.zeros((), dtype).dtype
        wide = computed_in(dtype) if dtype.itemsize < 4 else dtype
        return initializer(key, shape, wide, out_sharding).astype(dtype)

    return initialize


def _critical_gain(name: str, activation: Activation, bias_std: float | int) -> float:
    if np.ndim(bias_std):
        raise TypeError(must("bias_std", "be a number", f"an array of shape {np.shape(bias_std)}"))
    with jax.core.eval_context():
        gain = float(critical_weight_std(activation, bias_std))
    if math.isnan(gain):
        raise ValueError(
            f"sigjax.initializers.{name}: no weights with standard deviation 0.1 to 100 over the "
            f"root of the fan in are critical for activation {activation} and bias_std={bias_std}"
        )
    return gain
