"""Glorot & Bengio's two distributions of weights, and what they do to signals before training."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array, lax

from experiments.harness import over_devices

WEIGHTS = ("standard", "normalized")
DEPTH = 5  # hidden layers of the paper's networks
# Computed once for N(0, 1) inputs and width 1000 in float64: activations by layer, and the ratio
# of the back-propagated gradient at layer l to that at l + 1.
ACTIVATION_STD = {
    "standard": (0.460, 0.250, 0.141, 0.081, 0.047),
    "normalized": (0.628, 0.487, 0.409, 0.358, 0.322),
}
GRADIENT_RATIO = {
    "standard": (0.470, 0.542, 0.567, 0.574),
    "normalized": (0.679, 0.797, 0.854, 0.885),
}
# Mean singular value of a square matrix of independent entries with variance 1/n, by the quarter
# circle law: 8/(3 pi) (Marchenko & Pastur 1967); normalised weights have that variance, standard
# ones a third of it. Glorot & Bengio, section 4.2.2, found about 0.8 and 0.5.
SINGULAR = {"standard": 8 / (3 * np.pi) / 3**0.5, "normalized": 8 / (3 * np.pi)}
OBSERVED = 300  # inputs whose activations are followed, as in the paper


def limits(fan_in: int, fan_out: int) -> dict[str, float]:
    """Half widths of the uniform weights: 1/√n for fan-in n, and √6/√(n + m) for fan-out m."""
    return {"standard": fan_in**-0.5, "normalized": (6 / (fan_in + fan_out)) ** 0.5}


def signals_at_start(weights: str, width: int, draws: int, key: Array) -> xr.Dataset:
    """tanh on N(0, 1) inputs: standard deviations of what goes up and what comes down, and mean
    singular values of the first layer's weights and of the first and last Jacobian.
    """
    limit = limits(width, width)[weights]

    def one(key: Array) -> tuple[Array, ...]:
        for_weights, for_inputs, for_top = jax.random.split(key, 3)
        shape = (DEPTH, width, width)
        kernels = jax.random.uniform(for_weights, shape, minval=-limit, maxval=limit)
        x = jax.random.normal(for_inputs, (OBSERVED, width))
        delta = jax.random.normal(for_top, (OBSERVED, width))

        def up(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
            h = jnp.tanh(x @ kernel)
            return h, (x, h)

        def down(delta: Array, layer: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
            kernel, x, h = layer
            at_input = (1 - jnp.square(h)) * delta
            return at_input @ kernel.T, (jnp.std(at_input), jnp.std(x.T @ at_input))

        _, (inputs, outputs) = lax.scan(up, x, kernels)
        _, (gradients, of_kernels) = lax.scan(down, delta, (kernels, inputs, outputs), reverse=True)
        ends = jnp.array([0, -1])
        # d tanh(x W) / d x at one input, in the first and the last layer
        jacobians = kernels[ends] * (1 - jnp.square(outputs[ends, 0]))[:, None, :]
        matrices = jnp.concatenate([kernels[:1], jacobians])
        return jnp.std(outputs, (1, 2)), gradients, of_kernels, matrices

    *deviations, matrices = over_devices(one, jax.random.split(key, draws), one_by_one=True)
    up, down, kernels = (np.asarray(part).mean(axis=0, dtype=np.float64) for part in deviations)
    # Of one network: the mean of a thousand singular values hardly depends on the draw.
    singular = np.linalg.svd(np.asarray(matrices[0]), compute_uv=False).mean(-1, dtype=np.float64)
    return xr.Dataset(
        {
            "activation_std": ("initial_layer", up),
            "gradient_std": ("initial_layer", down),
            "kernel_gradient_std": ("initial_layer", kernels),
            "kernel_singular": singular[0],
            "jacobian_singular": ("end", singular[1:]),
        },
        coords={"initial_layer": np.arange(1, DEPTH + 1), "end": ["first", "last"]},
    )
