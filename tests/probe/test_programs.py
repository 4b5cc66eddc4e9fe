"""Programs of losses are kept while nothing changes that they were made of."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sigjax.probe import diagnose, value_and_grad

X = jnp.linspace(-1, 1, 32).reshape(8, 4)
WEIGHTS = {"first": jnp.eye(4) / 2, "second": jnp.eye(4)}
scale = 1.0


def loss_fn(weights, x, *, factor=1.0):
    return factor * jnp.sum(jnp.tanh(x @ weights["first"]) @ weights["second"])


class Counting:
    """How often programs were made."""

    def __init__(self, monkeypatch):
        from sigjax.probe import _programs

        self.made, make = 0, _programs.Program

        def counted(*arguments):
            self.made += 1
            return make(*arguments)

        monkeypatch.setattr(_programs, "Program", counted)

    def by(self, function, *arguments, **options):
        before = self.made
        return function(*arguments, **options), self.made - before


@pytest.fixture
def counting(monkeypatch):
    return Counting(monkeypatch)


def loss_of(report):
    return float(report.loss)


def test_values_alone_need_no_new_program(counting):
    first, made = counting.by(diagnose, WEIGHTS, loss_fn, X)
    assert made <= 1
    halved = jax.tree.map(lambda w: w / 2, WEIGHTS)
    second, made = counting.by(diagnose, halved, loss_fn, X + 1)
    assert made == 0
    assert second.facts is first.facts
    np.testing.assert_allclose(loss_of(second), float(loss_fn(halved, X + 1)), rtol=1e-6)
    assert first.rows != second.rows
    gradients = value_and_grad(loss_fn)
    gradients(WEIGHTS, X)  # its program gives more than the report
    _, made = counting.by(gradients, halved, X + 1)
    assert made == 0


def test_an_equal_function_that_is_defined_again_needs_none(counting):
    def fresh():
        return lambda w, x: jnp.sum(x @ w["first"] @ w["second"])

    diagnose(WEIGHTS, fresh(), X)
    assert counting.by(diagnose, WEIGHTS, fresh(), X)[1] == 0


def assert_traced_anew(counting, expected, *arguments, **options):
    report, made = counting.by(diagnose, *arguments, **options)
    assert made == 1
    np.testing.assert_allclose(loss_of(report), float(expected), rtol=1e-5)
    again, made = counting.by(diagnose, *arguments, **options)
    assert made == 0
    assert loss_of(again) == loss_of(report)
    return report


def test_shapes_dtypes_and_structures_count(counting):
    def loss(weights, x, *, factor=1.0):
        return factor * jnp.sum(x @ weights["first"])

    diagnose(WEIGHTS, loss, X)
    wide = {"first": jnp.ones((4, 7)), "second": jnp.ones(1)}
    report = assert_traced_anew(counting, loss(wide, X), wide, loss, X)
    assert report.facts.parameters[0].shape == (4, 7)
    assert_traced_anew(counting, loss(WEIGHTS, X[:3]), WEIGHTS, loss, X[:3])
    more = WEIGHTS | {"third": jnp.ones(1)}
    report = assert_traced_anew(counting, loss(more, X), more, loss, X)
    assert [row.name for row in report.rows] == ["first", "second", "third"]
    low = jax.tree.map(lambda w: w.astype(jnp.bfloat16), WEIGHTS)
    x = X.astype(jnp.bfloat16)
    report = assert_traced_anew(counting, loss(low, x), low, loss, x)
    assert report.rows[0].dtype == "bfloat16"


def test_arguments_that_are_no_arrays_count(counting):
    def loss(weights, x, power, names=()):
        return jnp.sum(x @ weights["first"]) * power + len(names)

    base = float(jnp.sum(X @ WEIGHTS["first"]))
    diagnose(WEIGHTS, loss, X, 1)
    assert_traced_anew(counting, 2 * base, WEIGHTS, loss, X, 2)
    assert_traced_anew(counting, 2.5 * base, WEIGHTS, loss, X, 2.5)
    assert_traced_anew(counting, 2 * base + 2, WEIGHTS, loss, X, 2, names=("a", "b"))
    assert_traced_anew(counting, 2 * base + 1, WEIGHTS, loss, X, 2, names=("a",))


def test_what_a_loss_closes_over_counts(counting):
    target, power, options = jnp.zeros(4), 2, {"shift": 0.0}

    def loss(weights, x):
        return jnp.mean((x @ weights["first"] - target) ** power) + options["shift"]

    diagnose(WEIGHTS, loss, X)
    assert counting.by(diagnose, WEIGHTS, loss, X)[1] == 0
    target = jnp.ones(4)
    assert_traced_anew(counting, loss(WEIGHTS, X), WEIGHTS, loss, X)
    power = 4
    assert_traced_anew(counting, loss(WEIGHTS, X), WEIGHTS, loss, X)
    options["shift"] = 3.0
    assert_traced_anew(counting, loss(WEIGHTS, X), WEIGHTS, loss, X)


def of_global(weights, x):
    return scale * jnp.sum(x @ weights["first"]) + 1


def test_globals_count(counting, monkeypatch):
    diagnose(WEIGHTS, of_global, X)
    monkeypatch.setitem(globals(), "scale", 3.0)
    assert_traced_anew(counting, of_global(WEIGHTS, X), WEIGHTS, of_global, X)


def test_what_a_partial_function_holds_counts(counting):
    for factor in (1.0, 2.0):
        loss = functools.partial(loss_fn, factor=factor)
        found = diagnose(WEIGHTS, loss, X)
        np.testing.assert_allclose(loss_of(found), factor * float(loss_fn(WEIGHTS, X)), rtol=1e-6)


def test_contents_of_numpy_arrays_count(counting):
    mask = np.ones(4, np.float32)

    def loss(weights, x):
        return jnp.sum(x @ weights["first"] * mask) + 1

    diagnose(WEIGHTS, loss, X)
    mask[0] = 5
    assert_traced_anew(counting, loss(WEIGHTS, X), WEIGHTS, loss, X)


class Model(nnx.Module):
    def __init__(self, depth, activation):
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=nnx.Rngs(i)) for i in range(depth)])
        self.activation = activation
        self.factor = 1.0

    def __call__(self, x):
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.factor * x


def test_the_structure_and_the_settings_of_a_module_count(counting):
    def loss(model, x):
        return jnp.sum(model(x)) + 1

    model = Model(2, jnp.tanh)
    diagnose(model, loss, X)
    assert counting.by(diagnose, Model(2, jnp.tanh), loss, X)[1] == 0
    model.factor = 2.0
    assert_traced_anew(counting, loss(model, X), model, loss, X)
    model.activation = jnp.sin
    assert_traced_anew(counting, loss(model, X), model, loss, X)
    model.layers.append(nnx.Linear(4, 4, rngs=nnx.Rngs(9)))
    report = assert_traced_anew(counting, loss(model, X), model, loss, X)
    assert [row.name for row in report.rows] == [f"layers.{i}" for i in range(3)]


def test_a_draw_of_python_is_not_frozen():
    """What changes unseen is traced each time."""
    numbers = np.random.default_rng(0)

    def loss(weights, x):
        return jnp.sum(x @ weights["first"]) + float(numbers.uniform(1, 2))

    assert loss_of(diagnose(WEIGHTS, loss, X)) != loss_of(diagnose(WEIGHTS, loss, X))


def test_bodies_that_jax_keeps_have_their_layers_in_every_call():
    """Inner traces are JAX's, of the first call; the second has other shapes around them."""

    class Inner(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
            self.other = nnx.Linear(4, 4, rngs=nnx.Rngs(1))

        def __call__(self, x):
            run = nnx.jit(lambda layer, x: jnp.tanh(layer(x)))
            again = nnx.remat(lambda layer, x: layer(x))
            return again(self.other, run(self.linear, x))

    @jax.jit
    def compiled(y):
        return jnp.mean(y**2)

    @nnx.jit
    def jitted(model, x):
        return compiled(model(x))

    model = Inner()
    reports = [
        diagnose(model, loss, X, **options)
        for loss in (lambda m, x: compiled(m(x)), jitted)
        for options in ({}, {}, {"per_step": True})
    ]
    for report in reports:
        assert [row.name for row in report.rows] == ["linear", "other"]
        norms = [row.log10_gradient for row in report.rows]
        np.testing.assert_allclose(norms, [r.log10_gradient for r in reports[0].rows], atol=1e-6)
