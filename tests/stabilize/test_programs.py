"""Programs are kept from call to call, and never one that would be traced to another."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from sigjax import stabilize
from sigjax._stabilize._program import Program
from tests.stabilize.changes import CHANGES

X = jnp.array([-3.0, 0.5, 17.0])


class Count:
    """Counts traces in a stand-in for `jax.nn.sigmoid`.

    A program takes library code to stay as it is: the count is nothing that it depends on.
    """

    def __init__(self, monkeypatch):
        self.traces = 0
        original = jax.nn.sigmoid

        def sigmoid(x):
            self.traces += 1
            return original(x)

        monkeypatch.setattr(jax.nn, "sigmoid", sigmoid)


@pytest.fixture
def count(monkeypatch):
    return Count(monkeypatch)


def assert_kept(count, function, *arguments, **named):
    """Calls a function twice more, without its being traced."""
    function(*arguments, **named)
    before = count.traces
    results = [function(*arguments, **named) for _ in range(2)]
    assert count.traces == before
    return results[-1]


class Net(nnx.Module):
    def __init__(self):
        self.linear = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
        self.calls = nnx.Variable(jnp.array(0))
        self.scale = 2.0

    def __call__(self, x):
        self.calls.set_value(self.calls[...] + 1)
        return jax.nn.sigmoid(self.linear(x)) * self.scale


def test_a_program_is_kept_for_every_way_to_call(count):
    def function(x, times=1, *, tree=None, mode="sum"):
        y = jax.nn.sigmoid(x) * float(times)
        return {"y": y if tree is None else y + tree["a"], "mode": mode}

    stable = stabilize(function)
    np.testing.assert_array_equal(assert_kept(count, stable, X)["y"], jax.nn.sigmoid(X))
    assert assert_kept(count, stable, X, 2, mode="mean")["mode"] == "mean"
    np.testing.assert_array_equal(stable(X, 3)["y"], 3 * jax.nn.sigmoid(X))
    np.testing.assert_array_equal(stable(X, 3.0)["y"], 3 * jax.nn.sigmoid(X))
    np.testing.assert_array_equal(assert_kept(count, stable, x=X)["y"], jax.nn.sigmoid(X))
    np.testing.assert_array_equal(
        assert_kept(count, stable, X, tree={"a": X})["y"], jax.nn.sigmoid(X) + X
    )
    # a new wrapper of the same function has its programs
    before = count.traces
    stabilize(function)(X)
    assert count.traces == before


def test_types_shapes_and_settings_have_their_own(count):
    stable = stabilize(lambda x: jax.nn.sigmoid(x) @ jax.nn.sigmoid(x))
    for x in (X, X.astype(jnp.bfloat16), jnp.ones((2, 2)), jnp.ones(())[None]):
        assert stable(x).dtype == x.dtype
    with jax.default_matmul_precision("float32"):
        before = count.traces
        stable(X)
        assert count.traces > before
    softplus = stabilize(jax.nn.softplus)
    assert softplus(jnp.asarray(2.0)).weak_type
    assert not softplus(jnp.float32(2.0)).weak_type


def test_derivatives_outside_jit_use_the_program(count):
    stable = stabilize(lambda x: jax.nn.sigmoid(x).sum())
    expected = jax.grad(stable)(X)
    before = count.traces
    np.testing.assert_array_equal(jax.grad(stable)(X), expected)
    assert count.traces == before
    assert expected[2] > 0


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_shows_in_the_next_call(name):
    function, change = CHANGES[name]()
    stable = stabilize(function)
    for _ in range(3):
        np.testing.assert_allclose(stable(X), 2 * jax.nn.sigmoid(X), rtol=1e-6)
    change()
    for _ in range(2):
        np.testing.assert_allclose(stable(X), 3 * jax.nn.sigmoid(X), rtol=1e-6)


def test_a_changed_static_array_shows():
    def function(x, table):
        assert isinstance(table, np.ndarray)
        return jax.nn.sigmoid(x) * table

    table = np.full(1, 2.0, np.float32)
    stable = stabilize(function)
    stable(X, table)
    table[0] = 3.0
    np.testing.assert_allclose(stable(X, table), 3 * jax.nn.sigmoid(X), rtol=1e-6)
    longer = jnp.concatenate([X, X])
    table[0] = 2.0
    np.testing.assert_allclose(stable(longer, table), 2 * jax.nn.sigmoid(longer), rtol=1e-6)


def test_zeros_and_equal_numbers_of_other_types_are_told_apart():
    stable = stabilize(lambda x, y: (jax.nn.sigmoid(x) * jnp.copysign(1.0, float(y)), type(y)))
    for y in (0.0, -0.0, 0.0, 1, True, 1.0):
        result, kind = stable(X, y)
        assert kind is type(y)
        np.testing.assert_array_equal(jnp.signbit(result), np.signbit(float(y)))


def test_effects_on_python_happen_at_every_call(capsys):
    shapes = []

    def appends(x):
        shapes.append(x.shape)
        return jax.nn.sigmoid(x)

    def prints(x):
        print("traced")
        return jax.nn.sigmoid(x)

    for function in map(stabilize, (appends, prints)):
        for _ in range(3):
            function(X)
    assert shapes == [(3,)] * 3
    assert capsys.readouterr().out == "traced\n" * 3


def draws_by_a_global(x):
    return jax.nn.sigmoid(x) * np.random.uniform(1, 2)


def draws_by_an_import(x):
    import numpy as numbers

    return jax.nn.sigmoid(x) * numbers.random.uniform(1, 2)


def draws_by_an_import_of_a_part(x):
    from numpy import random

    return jax.nn.sigmoid(x) * random.uniform(1, 2)


def draws_by_an_import_for_an_inner_function(x):
    import numpy as numbers

    return jax.nn.sigmoid(x) * (lambda: numbers.random.uniform(1, 2))()


def draws_by_a_cell():
    numbers = np
    return lambda x: jax.nn.sigmoid(x) * numbers.random.uniform(1, 2)


DRAWS = {
    "global": draws_by_a_global,
    "import": draws_by_an_import,
    "import of a part": draws_by_an_import_of_a_part,
    "inner function": draws_by_an_import_for_an_inner_function,
    "cell": draws_by_a_cell(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_of_numpy_are_new_at_every_call(name):
    stable = stabilize(DRAWS[name])
    assert len({float(stable(X)[0]) for _ in range(4)}) == 4


def test_random_numbers_of_jax_are_no_reason_to_trace_again(count):
    key = jax.random.key(0)
    assert_kept(count, stabilize(lambda x: jax.nn.sigmoid(x) + jax.random.normal(key)), X)


def test_programs_of_values_that_come_twice_are_dropped_and_what_is_used_stays(count):
    stable = stabilize(lambda x, name: jax.nn.sigmoid(x) * len(name))
    stable(X, "often")
    stable(X, "often")
    gc.collect()
    before = sum(isinstance(one, Program) for one in gc.get_objects())
    for length in range(1, 101):
        for _ in range(2):
            stable(X, "x" * length)
        traces = count.traces
        stable(X, "often")
        assert count.traces == traces
    gc.collect()
    assert sum(isinstance(one, Program) for one in gc.get_objects()) - before < 70


def test_a_module_in_the_arguments_is_kept_with_its_state(count):
    net = Net()
    stable = stabilize(lambda net, x: net(x))
    expected = jax.nn.sigmoid(net.linear(X)) * 2
    for _ in range(2):
        np.testing.assert_allclose(stable(net, X), expected, rtol=1e-6)
    before = count.traces
    net.linear.bias.set_value(jnp.ones(3))
    expected = jax.nn.sigmoid(net.linear(X)) * 2
    np.testing.assert_allclose(stable(net, X), expected, rtol=1e-6)
    assert count.traces == before + 1  # the one of `expected`
    assert int(net.calls[...]) == 3
    net.scale = 3.0
    np.testing.assert_allclose(stable(net, X), expected * 1.5, rtol=1e-6)
    np.testing.assert_allclose(stabilize(net)(X), expected * 1.5, rtol=1e-6)
    assert int(net.calls[...]) == 5


def test_a_changed_method_of_a_module_shows(monkeypatch):
    net = Net()
    stable = stabilize(lambda net, x: net(x))
    stable(net, X)
    monkeypatch.setattr(Net, "__call__", lambda self, x: jax.nn.sigmoid(x))
    np.testing.assert_array_equal(stable(net, X), jax.nn.sigmoid(X))


def test_tracers_that_are_closed_over_are_no_constants():
    def scaled_by(w):
        return stabilize(lambda x: jax.nn.sigmoid(x) * w)(X).sum()

    np.testing.assert_allclose(jax.grad(scaled_by)(2.0), jax.nn.sigmoid(X).sum(), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(scaled_by)(2.0), 2 * jax.nn.sigmoid(X).sum(), rtol=1e-6)


def test_a_number_that_is_another_at_each_call_is_not_compiled_for_ever(count):
    stable = stabilize(lambda x, step: jax.nn.sigmoid(x) * step)
    for step in range(20):
        np.testing.assert_allclose(stable(X, step), jax.nn.sigmoid(X) * step, rtol=1e-6)
    before = count.traces
    stable(X, 19)
    assert count.traces == before + 1  # now it is compiled
    assert_kept(count, stable, X, 19)


def test_a_function_goes_with_its_programs():
    def function(x):
        return jax.nn.sigmoid(x)

    stable = stabilize(function)
    stable(X)
    alive = weakref.ref(function)
    del function, stable
    gc.collect()
    assert alive() is None


def test_losses_of_libraries_and_derivatives_are_kept(count):
    labels = jnp.array([0.0, 1.0, 1.0])
    with jax.numpy_dtype_promotion("standard"):
        assert_kept(count, stabilize(optax.sigmoid_binary_cross_entropy), X, labels)
        assert_kept(count, stabilize(jax.grad(lambda x: jax.nn.sigmoid(x).sum())), X)
