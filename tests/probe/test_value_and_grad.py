"""Gradients, state and reports of one evaluation, where a training step may stand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from sigjax.probe import History, diagnose, value_and_grad
from tests.draws import normal

pytestmark = pytest.mark.usefixtures("standard_promotion")

# Of a leaf's largest element, in units in its last place: taps change what XLA fuses, and with it
# the order of sums.
ULPS = 16
X = normal(1, (16, 6))
Y = jnp.asarray(np.sin(np.asarray(X)[:, :2]))


class Net(nnx.Module):
    """With statistics, noise and a recurrent layer."""

    def __init__(self):
        rngs = nnx.Rngs(0, dropout=1)
        # A bias before a normalisation has the gradient 0, of which rounding alone is left.
        self.first = nnx.Linear(6, 8, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = nnx.Dropout(0.25, rngs=rngs)
        self.rnn = nnx.RNN(nnx.GRUCell(4, 4, rngs=rngs), rngs=rngs)
        self.last = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        x = self.drop(jnp.tanh(self.norm(self.first(x))))
        return self.last(self.rnn(x.reshape(len(x), 2, 4))[:, -1])


def loss_fn(model, x, y, scale=1.0):
    return scale * jnp.mean((model(x) - y) ** 2)


def with_aux(model, x, y, *, scale):
    predicted = model(x)
    return scale * jnp.mean((predicted - y) ** 2), {"predicted": predicted, "mean": x.mean()}


TREE = {
    "first": normal(2, (6, 8), 0.5),
    "second": normal(3, (8, 2), 0.5),
}


def tree_loss(parameters, x, y):
    return jnp.mean((jnp.tanh(x @ parameters["first"]) @ parameters["second"] - y) ** 2)


def assert_equal(found, expected, ulps=ULPS):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for here, there in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if jnp.issubdtype(there.dtype, jnp.floating):
            atol = ulps * float(jnp.finfo(there.dtype).eps * jnp.max(jnp.abs(there)))
            np.testing.assert_allclose(here, there, rtol=0, atol=atol)
        elif not jnp.issubdtype(there.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(here, there)


@pytest.mark.sampled(2)
@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda function: function, nnx.jit], ids=["eager", "nnx.jit"])
def test_gradients_state_and_auxiliary_output_are_those_of_nnx(wrap):
    @wrap
    def measured(model, x, y):
        value, gradients, _ = value_and_grad(with_aux, has_aux=True)(model, x, y, scale=2.0)
        return value, gradients

    @wrap
    def plain(model, x, y):
        function = functools.partial(with_aux, scale=2.0)  # nnx takes no arguments by name
        return nnx.value_and_grad(function, has_aux=True)(model, x, y)

    ours, theirs = Net(), Net()
    for _ in range(2):  # the second call starts from the state that the first one left
        assert_equal(measured(ours, X, Y), plain(theirs, X, Y))
        assert_equal(nnx.state(ours), nnx.state(theirs))


def test_auxiliary_output_may_hold_what_is_no_array():
    def loss(parameters, x, y):
        return tree_loss(parameters, x, y), {"name": "net", "shape": x.shape, "mean": x.mean()}

    for _ in range(2):  # traced, and kept
        (_, aux), _, _ = value_and_grad(loss, has_aux=True)(TREE, X, Y)
        np.testing.assert_allclose(aux.pop("mean"), X.mean(), rtol=1e-6)
        assert aux == {"name": "net", "shape": (16, 6)}


def test_a_diagnosis_is_the_report_and_leaves_the_state():
    model = Net()
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.BatchStat))
    report = diagnose(model, loss_fn, X, Y)
    assert_equal(nnx.state(model, nnx.BatchStat), before, ulps=0)
    _, _, other = value_and_grad(loss_fn)(model, X, Y)
    assert str(report) == str(other)


def test_steps_in_a_scan_with_a_report_every_second_one():
    """A learning rate of nothing at all, and weights that are lost at step 4."""
    evaluate = value_and_grad(tree_loss)

    def step(parameters, number):
        factor = jnp.where(number == 4, 1e-4, 1.0)
        parameters = parameters | {"first": parameters["first"] * factor}

        def measured():
            loss, _, report = evaluate(parameters, X, Y)
            return loss, report

        def quick():
            return tree_loss(parameters, X, Y), evaluate.unmeasured(parameters, X, Y)

        loss, report = jax.lax.cond(number % 2 == 0, measured, quick)
        return parameters, (loss, report)

    run = jax.jit(lambda tree: jax.lax.scan(step, tree, jnp.arange(8))[1])
    losses, reports = run(TREE)
    history = History()
    history.extend(range(8), reports)
    data = history.to_xarray()
    assert data["step"].values.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(data["loss"], losses[::2], rtol=1e-6)
    assert [(step, f.kind, f.layers) for step, f in history.findings] == [(4, "jump", ("first",))]
    plain = diagnose(TREE, tree_loss, X, Y)
    norms = [row.log10_gradient for row in plain.rows]
    np.testing.assert_allclose(data["log10_gradient"][1], norms, atol=1e-6)


def test_donated_buffers_and_scalars_inside():
    @functools.partial(jax.jit, donate_argnums=0)
    def step(parameters, x, y):
        _, gradients, report = value_and_grad(tree_loss)(parameters, x, y)
        parameters = optax.tree.add_scale(parameters, -0.1, gradients)
        return parameters, report, report.scalars("probe/")

    parameters = jax.tree.map(jnp.copy, TREE)
    new, report, numbers = step(parameters, X, Y)
    assert parameters["first"].is_deleted()
    gradients = jax.grad(tree_loss)(TREE, X, Y)
    assert_equal(new, jax.tree.map(lambda p, g: p - 0.1 * g, TREE, gradients))
    assert numbers["probe/loss"] == report.loss
    for row in report.rows:
        for name in ("log10_gradient", "log10_parameter_gradient"):
            expected = getattr(row, name)
            np.testing.assert_allclose(numbers[f"probe/{row.name}/{name}"], expected, atol=1e-5)


def test_microbatches_merge_to_the_batch():
    """Of a loss that adds up; a unit that works in one of them is not dead."""
    weights = TREE | {"first": TREE["first"].at[:, 0].set(jnp.eye(6)[0])}

    def loss(parameters, x, y):
        hidden = jax.nn.relu(x @ parameters["first"])
        return jnp.sum((hidden @ parameters["second"] - y) ** 2)

    x = X.at[:, 0].set(jnp.where(jnp.arange(16) < 8, -1.0, 1.0))
    whole = diagnose(weights, loss, x, Y)
    first, second = (diagnose(weights, loss, x[i : i + 8], Y[i : i + 8]) for i in (0, 8))
    assert first.rows[0].dead >= 1 / 8
    merged = first.merge(second)
    np.testing.assert_allclose(merged.loss, whole.loss / 2, rtol=1e-6)
    for row, other in zip(merged.rows, whole.rows, strict=True):
        for name in ("log10_gradient", "log10_rms", "log10_parameter", "dead", "slope_square"):
            np.testing.assert_allclose(getattr(row, name), getattr(other, name), atol=1e-6)
    spoilt = diagnose(weights, loss, x[:8].at[0, 0].set(jnp.nan), Y[:8])
    assert [f.layers for f in second.merge(spoilt).findings] == [("batch",)]


@pytest.mark.parametrize("kind", ["Explicit", "Auto"])
def test_a_batch_over_four_devices(kind):
    """The report is replicated, and says what one device says."""
    mesh = jax.make_mesh((4,), ("d",), axis_types=(getattr(jax.sharding.AxisType, kind),))
    plain = value_and_grad(tree_loss)(TREE, X, Y)
    with jax.set_mesh(mesh):
        place, everywhere = (NamedSharding(mesh, PartitionSpec(*names)) for names in (("d",), ()))
        x, y = jax.device_put((X, Y), place)
        tree = jax.device_put(TREE, everywhere)
        loss, gradients, report = jax.jit(value_and_grad(tree_loss))(tree, x, y)
    assert_equal((loss, gradients), plain[:2])
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(report))
    for row, other in zip(report.rows, plain[2].rows, strict=True):
        np.testing.assert_allclose(row.log10_gradient, other.log10_gradient, atol=1e-6)
        np.testing.assert_allclose(row.log10_rms, other.log10_rms, atol=1e-6)
