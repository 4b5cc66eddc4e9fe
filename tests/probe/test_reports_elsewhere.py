"""Reports in checkpoints, on several devices by pmap, and of sequences read both ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from sigjax.probe import diagnose, value_and_grad
from tests.draws import normal

X = normal(0, (8, 6, 4))


def test_orbax_keeps_a_report(tmp_path):
    checkpoint = pytest.importorskip("orbax.checkpoint")
    parameters = {"first": jnp.eye(4), "second": 1e-3 * jnp.eye(4)}

    def loss(parameters, x):
        return jnp.mean(jnp.tanh(jnp.tanh(x @ parameters["first"]) @ parameters["second"]) ** 2)

    _, _, report = jax.jit(value_and_grad(loss))(parameters, X)
    with checkpoint.StandardCheckpointer() as keeper:
        keeper.save(tmp_path / "report", jax.tree.leaves(report))
        keeper.wait_until_finished()
        leaves = keeper.restore(tmp_path / "report", jax.tree.leaves(report))
    restored = jax.tree.unflatten(jax.tree.structure(report), leaves)
    assert str(restored) == str(report)
    assert [f.kind for f in restored.findings] == [f.kind for f in report.findings]


class Both(nnx.Module):
    """Reads a sequence both ways with two cells, and sums what it says at the end."""

    def __init__(self, rngs):
        forward, backward = (snn.RNN(snn.GRUCell(4, 5, rngs=rngs)) for _ in range(2))
        self.rnn = snn.Bidirectional(forward, backward)
        self.head = nnx.Linear(10, 1, rngs=rngs)

    def __call__(self, x):
        return self.head(self.rnn(x).mean(axis=1))


def test_both_directions_have_parameters_and_no_finding():
    model = Both(nnx.Rngs(0))
    report = diagnose(model, lambda model, x: jnp.mean((model(x) - 1) ** 2), X)
    assert not report.findings
    layers = {row.name for row in report.rows}
    for direction in ("forward_rnn", "backward_rnn"):
        assert any(direction in layer for layer in layers), layers
    expected = nnx.grad(lambda model: jnp.mean((model(X) - 1) ** 2))(model)
    flat = {
        jax.tree_util.keystr(p): v for p, v in jax.tree.leaves_with_path(nnx.to_pure_dict(expected))
    }
    norm = np.sqrt(sum(float(jnp.sum(v**2)) for p, v in flat.items() if "backward_rnn" in p))
    found = [row.log10_parameter_gradient for row in report.rows if "backward_rnn" in row.name]
    total = np.sqrt(np.nansum(10.0 ** (2 * np.array(found, float))))
    assert total == pytest.approx(norm, rel=1e-5)


def test_every_device_has_the_report_of_its_part():
    model, parts = nnx.Linear(4, 3, rngs=nnx.Rngs(0)), X.reshape(4, 2, 6, 4)
    measure = value_and_grad(lambda model, x: jnp.mean(jnp.tanh(model(x)) ** 2))

    @nnx.pmap(in_axes=(None, 0))
    def on_devices(model, x):
        loss, _, report = measure(model, x)
        return loss, report

    _, reports = on_devices(model, parts)
    third = jax.tree.map(lambda array: array[2], reports)
    assert str(third) == str(measure(model, parts[2])[2])
