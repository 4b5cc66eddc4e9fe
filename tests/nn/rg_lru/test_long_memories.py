"""Memories of up to 10^8 steps, in closed form against mpmath, and in bfloat16."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from experiments.gates._clipped_rg_lru import clipped_rg_lru
from sigjax.nn._rg_lru._forgetting import forgetting, log_scale
from tests.nn.rg_lru import reference
from tests.nn.rg_lru.units import FEATURES, data, float64, program, unit, weights_of

MEMORIES = 10.0 ** np.arange(9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forgetting_and_its_derivatives_for_every_memory(dtype):
    """Of memories of 1 to 10^8 steps: the gates' and Lambda's share, to second order."""
    z = np.array([-3.0, 0.0, 2.0], dtype)
    with jax.enable_x64(True):
        lambdas = np.log(np.expm1(1 / (4 * MEMORIES))).astype(dtype)

        def both(z, parameter):
            return jnp.stack(forgetting(z, log_scale(parameter)))

        def to_second_order(z, parameter):
            first = jax.jacrev(both, (0, 1))(z, parameter)
            second = jax.jacfwd(jax.jacfwd(both, 1), (0, 1))(z, parameter)
            return jnp.stack([both(z, parameter), *first, *second])

        over_all = jax.vmap(jax.vmap(to_second_order, (0, None)), (None, 0))
        found = jax.jit(over_all)(z, lambdas)
    assert found.dtype == dtype
    orders = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]
    with mpmath.workdps(60):
        for memory, parameter in enumerate(lambdas):
            for index, gate in enumerate(z):

                def kept(z, parameter):
                    rate = 8 * mpmath.log1p(mpmath.exp(parameter)) / (1 + mpmath.exp(-z))
                    return mpmath.exp(-rate)

                forms = (
                    lambda z, parameter: 1 - kept(z, parameter),
                    lambda z, parameter: mpmath.sqrt(1 - kept(z, parameter) ** 2),
                )
                at = mpmath.mpf(float(gate)), mpmath.mpf(float(parameter))
                for form, function in enumerate(forms):
                    truth = [float(mpmath.diff(function, at, n)) for n in orders]
                    off = np.abs(np.float64(found[memory, index, :, form]) - truth)
                    # A second derivative may be 0, where its terms are as large as the first. The
                    # exponential of Lambda adds |Lambda| eps.
                    scale = np.abs(truth) + np.abs(truth[2])
                    scale *= (8 + abs(parameter)) * np.finfo(dtype).eps
                    assert np.all(off <= scale), (parameter, gate, form, off / scale)


def test_no_gradient_is_infinite_or_nan_whatever_the_parameter():
    """Beyond any memory, where the rate of forgetting is less than the smallest number, too."""
    x, first, cotangent, _ = (jnp.asarray(a, jnp.float32) for a in data(steps=9))
    cell = unit(dtype=jnp.bfloat16)
    cell.a_param.set_value(jnp.array([-1e4, -95.0, -40.0, 1e3]))
    cell.a_gate.bias.set_value(jnp.array([[-200.0, 0.0], [90.0, -90.0]]))
    run, weights = program(cell)

    def loss(*args):
        return jnp.sum(run(*args)[0].astype(jnp.float32) * cotangent)

    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))(weights, x.astype(jnp.bfloat16), first)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def of_memory(memory, features, heads):
    """A unit whose memories are about so many steps, its weights as they are drawn at first."""
    cell = snn.RGLRU(features, num_heads=heads, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    spread = np.random.default_rng(3).uniform(0.5, 2, features)  # r is about 1/2
    cell.a_param.set_value(jnp.asarray(np.log(np.expm1(spread / (4 * memory))), jnp.float32))
    return cell


def errors_in_bfloat16(memory, steps, batch, features, heads):
    """Error of the states and cosines of the gradients: of the unit, and of the authors' form."""
    cell = of_memory(memory, features, heads)
    rng = np.random.default_rng(4)
    x, cotangent = rng.normal(size=(2, steps, batch, features)).astype(jnp.bfloat16)
    first = np.zeros((batch, features), np.float32)
    run, weights = program(cell)
    pure = nnx.to_pure_dict(weights)["cell"]
    known = float64(pure)
    truth = reference.states(known, np.float64(x), np.float64(first))
    of_weights, of_x, _ = reference.gradients(
        known, np.float64(x), np.float64(first), np.float64(cotangent)
    )
    expected = jax.tree.leaves((of_weights, of_x))

    found = []
    for form, given in (
        (lambda weights, x: run(weights, x, jnp.asarray(first))[0], weights),
        (lambda weights, x: clipped_rg_lru(weights, x, jnp.asarray(first)), pure),
    ):

        def both(given, x, form=form):
            states, pull = jax.vjp(form, given, x)
            return states, pull(jnp.asarray(cotangent))

        states, (of_given, of_inputs) = jax.jit(both)(given, jnp.asarray(x))
        of_given = of_given if isinstance(of_given, dict) else nnx.to_pure_dict(of_given)["cell"]
        states = np.float64(states)
        error = np.sqrt(np.mean((states - truth) ** 2) / np.mean(truth**2))
        leaves = [np.float64(leaf) for leaf in jax.tree.leaves((of_given, of_inputs))]
        cosines = [
            np.sum(a * b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300)  # a may be 0
            for a, b in zip(leaves, expected, strict=True)
        ]
        found.append((error, cosines))
    return found


def test_bfloat16_inputs_and_products_keep_the_memory():
    """The authors' form does not: 1 - a^2 is 0 in bfloat16, so that nothing enters the state."""
    (error, cosines), (their_error, their_cosines) = errors_in_bfloat16(1e5, 300, 2, 32, 2)
    assert error <= 0.01
    assert min(cosines) >= 0.9999
    assert their_error > 0.1
    assert min(their_cosines) < 0.9


@pytest.mark.parametrize("memory", [1e5, 1e8])
def test_every_unit_forgets(memory):
    """No factor is 1 exactly, as most are in bfloat16, and in float32 beyond 3e7 steps."""
    x = jnp.asarray(data(steps=3, features=32)[0], jnp.bfloat16)
    rnn = snn.RNN(of_memory(memory, 32, 2), time_major=True)
    gates = jax.jit(lambda x: rnn(x, return_gates=True)[1])(x)
    assert gates.log_decay.dtype == jnp.float32
    forgotten = -np.expm1(np.asarray(gates.log_decay))
    assert np.all((forgotten > 0) & (forgotten * memory < 4))
    assert np.mean(np.exp(gates.log_decay).astype(jnp.bfloat16) == 1) > 0.9


@pytest.mark.proof
@pytest.mark.parametrize("memory", [1e2, 1e3, 1e4, 1e5])
def test_bfloat16_keeps_the_memory_at_the_sizes_of_a_model(memory):
    (error, cosines), _ = errors_in_bfloat16(memory, 2048, 2, 256, 4)
    assert error <= 0.01
    assert min(cosines) >= 0.9999


def test_a_state_of_a_million_steps_of_memory():
    """In float32, whose nearest number to a is off by up to 3 % of what a is less than 1."""
    steps = 4000
    cell = unit()
    cell.a_param.set_value(jnp.full(FEATURES, np.log(np.expm1(1 / 4e6)), jnp.float32))
    x = np.random.default_rng(5).normal(1, 1, size=(steps, 1, FEATURES)).astype(np.float32)
    first = np.zeros((1, FEATURES), np.float32)
    run, weights = program(cell)
    found, _ = jax.jit(run)(weights, x, first)
    truth = reference.states(weights_of(cell), np.float64(x), np.float64(first))
    np.testing.assert_allclose(found[-1], truth[-1], rtol=3e-5)
