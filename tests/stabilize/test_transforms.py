"""Where forms are found, how the transformation composes, and what it leaves as it was."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax
from jax.experimental import pallas as pl
from jax.sharding import PartitionSpec as P

import sigjax
from sigjax import StabilizeWarning, stabilize

X = jnp.array([-3.0, 0.5, 17.0, 30.0])


def by_hand(x):
    return jax.nn.sigmoid(x)


by_hand = jax.custom_vjp(by_hand)
by_hand.defvjp(
    lambda x: (jax.nn.sigmoid(x), x),
    lambda x, g: (g * jax.nn.sigmoid(x) * (1 - jax.nn.sigmoid(x)),),
)


def by_tangent(x):
    return jax.nn.sigmoid(x)


by_tangent = jax.custom_jvp(by_tangent)


@by_tangent.defjvp
def _(primals, tangents):
    gate = jax.nn.sigmoid(primals[0])
    return gate, tangents[0] * gate * (1 - gate)


def in_while(x):
    return lax.while_loop(lambda c: c[1] < 1, lambda c: (jax.nn.sigmoid(c[0]), c[1] + 1), (x, 0))[0]


def in_scan(x):
    return lax.scan(lambda c, _: (jax.nn.sigmoid(c), None), x, None, length=1)[0]


def in_cond(x):
    return lax.cond(x > 0, jax.nn.sigmoid, lambda x: 1 / (1 + jnp.exp(-x)), x)


# while_loop is differentiated forwards only.
PLACES = {
    "jit": jax.jit(jax.nn.sigmoid),
    "nested jit": jax.jit(lambda x: jax.jit(jax.nn.sigmoid)(x)),
    "scan": in_scan,
    "while": in_while,
    "cond": in_cond,
    "checkpoint": jax.checkpoint(jax.nn.sigmoid),
    "custom_vjp": by_hand,
    "custom_jvp": by_tangent,
    "vmap": lambda x: jax.vmap(jax.nn.sigmoid)(x[None])[0],
}


@pytest.mark.parametrize("place", PLACES)
def test_forms_are_found_everywhere(place):
    function = stabilize(PLACES[place])
    derivative = jax.jacfwd if place == "while" else jax.grad
    if place == "custom_vjp":
        derivative = jax.grad
    expected = jax.vmap(jax.grad(sigjax.sigmoid))(X)
    for transformed in (
        jax.vmap(derivative(function)),
        jax.jit(jax.vmap(derivative(function))),
        jax.vmap(derivative(jax.jit(function))),
        jax.vmap(jax.jit(derivative(function))),
    ):
        np.testing.assert_allclose(transformed(X), expected, rtol=1e-6)


def test_shard_map_keeps_the_sharding():
    mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=P("d"), out_specs=P("d"))
    def parts(x):
        return jax.nn.sigmoid(x) + lax.psum(x, "d") * 0

    gradient = jax.jit(jax.grad(lambda x: stabilize(parts)(x).sum()))
    sharded = jax.device_put(X, jax.NamedSharding(mesh, P("d")))
    np.testing.assert_allclose(gradient(sharded), jax.vmap(jax.grad(sigjax.sigmoid))(X), rtol=1e-6)
    assert jax.jit(stabilize(parts))(sharded).sharding.spec == P("d")


def test_pytrees_static_arguments_and_other_results_pass():
    def function(tree, times, *, mode, table):
        assert isinstance(times, int)
        assert isinstance(table, np.ndarray)
        total = sum(jax.nn.sigmoid(tree["x"]) * row for row in table[:times])
        return {"total": total, "mode": mode, "none": None}

    table = np.arange(3, dtype=np.float32)
    result = stabilize(function)({"x": X, "n": None}, 2, mode="sum", table=table)
    assert result["mode"] == "sum"
    assert result["none"] is None
    chex.assert_trees_all_close(result["total"], jax.nn.sigmoid(X))
    assert stabilize(by_hand).__wrapped__ is by_hand


def test_weak_types_are_kept():
    for argument in (2.0, X):
        plain, stable = (
            jax.make_jaxpr(f)(argument).out_avals[0]
            for f in (jax.nn.softplus, stabilize(jax.nn.softplus))
        )
        assert (plain.dtype, plain.weak_type) == (stable.dtype, stable.weak_type)


def test_everything_else_is_the_same_equation():
    def function(x):
        with jax.named_scope("inner"):
            y = jnp.sin(x) @ jnp.ones((4, 4))
        return jax.nn.sigmoid(y) + y

    def names(f):
        jaxpr = jax.make_jaxpr(f)(X)
        return [(str(e.source_info.name_stack), e.primitive.name) for e in jaxpr.eqns]

    plain, stable = names(function), names(stabilize(function))
    plain = [("", "jit") if name == "logistic" else (scope, name) for scope, name in plain]
    assert plain == stable


def test_effects_are_kept(capsys):
    def function(x):
        jax.debug.print("x is {}", x, ordered=True)
        return jax.nn.sigmoid(x)

    jax.block_until_ready(jax.jit(stabilize(function))(2.0))
    jax.effects_barrier()
    assert "x is 2.0" in capsys.readouterr().out


def test_what_cannot_be_entered_is_named():
    def kernel(x_ref, y_ref):
        y_ref[...] = jax.nn.sigmoid(x_ref[...])

    def function(x):
        call = pl.pallas_call(kernel, out_shape=jax.typeof(x), interpret=True)
        return call(x)

    with pytest.warns(StabilizeWarning, match="pallas_call"):
        stabilize(function)(X)


def test_refuses_what_is_no_function():
    with pytest.raises(TypeError):
        stabilize(3)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("cell", [nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell])
def test_flax_cells_keep_their_values(cell):
    rnn = nnx.RNN(cell(5, 7, rngs=nnx.Rngs(0)))
    x = jax.random.normal(jax.random.key(1), (2, 20, 5))
    np.testing.assert_array_max_ulp(np.asarray(stabilize(rnn)(x)), np.asarray(rnn(x)), 2)

    def loss(rnn, x):
        return jnp.sum(jnp.square(rnn(x)))

    plain = nnx.grad(loss)(rnn, x)
    stable = nnx.grad(stabilize(loss))(rnn, x)
    chex.assert_trees_all_close(stable, plain, rtol=1e-4, atol=1e-5)


def test_flax_state_is_updated():
    class Block(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return nnx.sigmoid(self.drop(self.norm(x)))

    x = jax.random.normal(jax.random.key(0), (6, 4))
    plain, stable = Block(nnx.Rngs(0)), Block(nnx.Rngs(0))
    with jax.numpy_dtype_promotion("standard"):
        for run in (lambda f: f, nnx.jit):
            # outside `jit` a stabilised function is compiled all the same
            expected = nnx.jit(lambda m, x: m(x))(plain, x)
            found = run(stabilize(lambda m, x: m(x)))(stable, x)
            chex.assert_trees_all_close(found, expected, rtol=1e-6)
            chex.assert_trees_all_equal(nnx.state(stable), nnx.state(plain))


def test_optax_losses_get_right_hessians():
    logits = jnp.array([-20.0, -3.0, 0.2, 4.0, 20.0])
    for label in (0.0, 1.0, 0.3):
        labels = jnp.full_like(logits, label)
        with jax.numpy_dtype_promotion("standard"):
            hessian = jax.vmap(jax.grad(jax.grad(stabilize(optax.sigmoid_binary_cross_entropy))))
            found = hessian(logits, labels)
        ours = jax.vmap(jax.grad(jax.grad(sigjax.losses.sigmoid_binary_cross_entropy)))
        np.testing.assert_allclose(found, ours(logits, labels), rtol=3e-6)


def test_a_dead_bfloat16_model_trains_after_one_line():
    """Every gate starts at 8, where jax.nn's bfloat16 slope is exactly 0."""

    def model(parameters, x):
        return jax.nn.sigmoid(x * parameters["w"] + parameters["b"])

    x = jnp.linspace(-1, 1, 32, dtype=jnp.bfloat16)
    target = (x > 0).astype(jnp.bfloat16) * jnp.bfloat16(0.8) + jnp.bfloat16(0.1)
    start = {"w": jnp.bfloat16(0.1), "b": jnp.bfloat16(8.0)}

    def fit(model):
        def loss(parameters):
            return jnp.mean(jnp.square(model(parameters, x) - target).astype(jnp.float32))

        optimizer = optax.adam(0.3)

        def step(state, _):
            parameters, moments = state
            with jax.numpy_dtype_promotion("standard"):
                updates, moments = optimizer.update(jax.grad(loss)(parameters), moments)
                parameters = optax.apply_updates(parameters, updates)
            return (parameters, moments), loss(parameters)

        return lax.scan(step, (start, optimizer.init(start)), None, length=200)[1]

    dead, alive = jax.jit(lambda: fit(model))(), jax.jit(lambda: fit(stabilize(model)))()
    assert dead[-1] == dead[0]
    assert alive[-1] < alive[0] / 20
