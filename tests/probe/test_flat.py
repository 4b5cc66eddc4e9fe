"""Flat programs of hand-written functions: what depends on what."""

import jax
import jax.numpy as jnp
from jax import lax

from sigjax.probe._flat import Flat


def flat_of(function, *arguments, parameters=0):
    return Flat(jax.make_jaxpr(function)(*arguments), parameters)


def dependence(function, *arguments):
    """For each argument whether the first result depends on it, told by both directions."""
    flat = flat_of(function, *arguments)
    back = flat.leading_to(flat.outputs[:1])
    found = [value in back for value in flat.inputs]
    assert found == [flat.outputs[0] in flat.reached_from([value]) for value in flat.inputs]
    return found


def test_through_calls_and_what_they_leave_out():
    @jax.jit
    def inner(a, b):
        return a * 2, b * 3

    @jax.checkpoint
    def again(a, b):
        return inner(a, b)[1]

    assert dependence(lambda a, b, c: inner(a, b)[0] + c, 1.0, 1.0, 1.0) == [True, False, True]
    assert dependence(lambda a, b, c: again(a, b), 1.0, 1.0, 1.0) == [False, True, False]
    assert dependence(lambda a, b: jax.nn.relu(a), 1.0, 1.0) == [True, False]


def test_through_loops():
    def swapped(a, b, c):
        """Each step gives b to a, and c to b: a depends on c from the third step on."""
        return lax.fori_loop(0, 3, lambda _, s: (s[1], s[2], s[2]), (a, b, c))[0]

    def apart(a, b, xs, ys):
        def step(carry, x):
            first, second = carry
            return (first + x[0], second * 2), x[1]

        (first, _), _ = lax.scan(step, (a, b), (xs, ys))
        return first

    def stacked(a, b, xs, ys):
        return lax.scan(lambda c, x: (c * x[0], x[1] + b), a, (xs, ys))[1]

    def while_test(a, b, c):
        """How often it runs depends on c."""
        return lax.while_loop(lambda s: s[1] < c, lambda s: (s[0] * 2, s[1] + 1), (a, b))[0]

    xs = jnp.ones(4)
    assert dependence(swapped, 1.0, 1.0, 1.0) == [True, True, True]
    assert dependence(apart, 1.0, 1.0, xs, xs) == [True, False, True, False]
    assert dependence(stacked, 1.0, 1.0, xs, xs) == [False, True, False, True]
    assert dependence(while_test, 1.0, 1.0, 1.0) == [True, True, True]


def test_through_branches():
    def branch(test, a, b, c):
        return lax.cond(test > 0, lambda a, b, c: (a, c), lambda a, b, c: (b, c), a, b, c)[0]

    assert dependence(branch, 1.0, 1.0, 1.0, 1.0) == [True, True, True, False]


def test_what_comes_of_parameters_alone():
    """The first of two inputs is the parameter."""

    def function(w, x):
        return (w.T * 2).sum() + (x * w).sum()

    flat = flat_of(function, jnp.ones((2, 3)), jnp.ones((2, 3)), parameters=1)
    product = next(op for op in flat.operations if op.name == "mul" and None not in op.inputs)
    moved = next(op for op in flat.operations if op.name == "transpose")
    assert flat.is_parameter(moved.outputs[0])
    assert not flat.is_computed(moved.outputs[0])
    assert flat.is_computed(product.outputs[0])
    assert not flat.is_parameter(flat.inputs[1])


def test_a_key_leads_to_the_equation():
    """Bodies in bodies: each part of a key is a place among the equations around."""

    @jax.jit
    def inner(x):
        return lax.scan(lambda c, _: (jnp.sin(c), None), x, length=2)[0]

    closed = jax.make_jaxpr(lambda x: inner(x + 1))(1.0)
    (sine,) = [op for op in Flat(closed).operations if op.name == "sin"]
    call, loop, body, place = sine.key
    scan = closed.jaxpr.eqns[call].params["jaxpr"].eqns[loop]
    assert scan.primitive.name == "scan"
    assert (body, scan.params["jaxpr"].eqns[place].primitive.name) == (0, "sin")


def test_what_can_be_watched_of_a_function_with_its_own_derivative():
    """Inside of it nothing can; its result can be at the call."""
    flat = flat_of(lambda x: jax.nn.relu(x) * 2, jnp.ones(3))
    (largest,) = [op for op in flat.operations if op.name == "max"]
    key = flat.outermost(largest.key, largest.outputs[0])
    assert key is not None
    assert len(key) < len(largest.key)
    assert flat.outermost((*key, 0), flat.inputs[0]) is None
