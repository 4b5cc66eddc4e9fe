"""A report's arrays are the same whether the program puts them together or the host does."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.probe import diagnose, value_and_grad
from sigjax.probe._layout import Layout

SIZES = (4, 96, 96, 3)  # small parameters are measured together, the one in the middle by itself


def weights(scale, dtype):
    keys = jax.random.split(jax.random.key(0), len(SIZES))
    shapes = itertools.pairwise(SIZES)
    drawn = [
        scale * jax.random.normal(k, s, dtype) / s[0] ** 0.5
        for k, s in zip(keys, shapes, strict=False)
    ]
    return {f"layer{i}": w for i, w in enumerate(drawn)} | {"stack": jnp.stack([drawn[0]] * 2)}


def loss_fn(parameters, x):
    def add(total, weight):
        return total + jnp.sum(jnp.tanh(x @ weight)), None

    total, _ = jax.lax.scan(add, jnp.zeros((), x.dtype), parameters["stack"])
    for i in range(len(SIZES) - 1):
        x = jnp.tanh(x @ parameters[f"layer{i}"])
    return jnp.mean(x.astype(jnp.float32)) + total.astype(jnp.float32)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_on_the_host_and_in_the_program(dtype):
    x = jnp.ones((8, SIZES[0]), dtype)
    inside = jax.jit(lambda parameters, x: diagnose(parameters, loss_fn, x))
    beside = value_and_grad(loss_fn)
    for scale in (1.0, 1e-14 if dtype == "float32" else 1e-3):
        parameters = weights(scale, dtype)
        on_host = diagnose(parameters, loss_fn, x)
        _, gradient, with_gradients = beside(parameters, x)
        for other in (inside(parameters, x), with_gradients):
            assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((on_host, other)))
            assert other.facts == on_host.facts
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6),
                on_host.measured,
                other.measured,
            )
        norms = {row.name: row.log10_parameter_gradient for row in on_host.rows}
        for name, leaf in gradient.items():
            found = [norm for row, norm in norms.items() if row.startswith(name)]
            wide = np.asarray(leaf, np.float64).reshape(len(found), -1)
            with np.errstate(divide="ignore"):
                expected = np.log10(np.linalg.norm(wide, axis=1))
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slice
def test_groups_are_of_one_shape_and_dtype():
    parameters = [jnp.ones(3), jnp.ones((2, 3)), jnp.ones(3, jnp.bfloat16), jnp.ones(3)]
    layout = Layout.of([], {}, [((), p.shape) for p in parameters], parameters)
    assert layout.parameter_groups == ((0, 3), (1,), (2,))
    assert layout.site_groups == ()
