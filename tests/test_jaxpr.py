"""The one walker of traced programs."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from sigjax import _jaxpr


def equation(function, *arguments):
    *_, last = jax.make_jaxpr(function)(*arguments).eqns
    return last


@jax.custom_vjp
def somebodys(x):
    return jnp.tanh(x)


somebodys.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: (g,))

HOLDERS = {
    "jit": jax.jit(jnp.tanh),
    "checkpoint": jax.checkpoint(jnp.tanh),
    "scan": lambda x: lax.scan(lambda c, r: (jnp.tanh(r), r), x[0], x)[0],
    "cond": lambda x: lax.cond(x[0] > 0, jnp.tanh, jnp.tanh, x),
    "while": lambda x: lax.while_loop(lambda c: c[0] > 0, jnp.tanh, x),
    "custom_vjp": somebodys,
    "vmap of jit": jax.vmap(jax.jit(jnp.tanh)),
}


def test_the_bodies_of_every_primitive_that_holds_jaxprs_are_found():
    for name, function in HOLDERS.items():
        inside = _jaxpr.bodies(equation(function, jnp.ones(2)))
        assert inside, name
        held = [e.primitive.name for body in inside for e in _jaxpr.equations(body)]
        assert "tanh" in held, name


def test_most_equations_run_no_jaxpr_and_a_kernel_cannot_be_entered():
    assert _jaxpr.bodies(equation(jnp.sin, 1.0)) == ()

    def kernel(x_ref, y_ref):
        y_ref[...] = jnp.tanh(x_ref[...])

    x = jnp.ones(2)
    call = pl.pallas_call(kernel, out_shape=jax.typeof(x), interpret=True)
    assert _jaxpr.bodies(equation(call, x)) is None


def test_code_is_known_by_where_it_is_written():
    def relu(x):
        return jnp.maximum(x, 0)

    x = jnp.ones(2)
    assert _jaxpr.is_from_jax(equation(jax.nn.relu, x), "relu")
    assert not _jaxpr.is_from_jax(equation(jax.jit(relu), x), "relu")
    assert _jaxpr.source(equation(jax.jit(relu), x)).startswith("relu at ")
    assert __file__ in _jaxpr.source(equation(jax.jit(relu), x))
    file, _, function = _jaxpr.users_line(equation(relu, x))
    assert file == __file__
    assert function.endswith("relu")


def test_a_trace_is_told_from_a_derivative():
    seen = []

    def function(x):
        seen.append(_jaxpr.is_staged())
        return x

    jax.grad(function)(1.0)
    jax.vmap(function)(jnp.ones(2))
    jax.jit(jax.grad(function))(1.0)
    jax.grad(jax.jit(function))(2.0)
    assert seen == [False, False, True, True]
