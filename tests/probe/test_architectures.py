"""Public architectures: healthy as they are, and each broken in three ways and judged right."""

import jax
import optax
import pytest
from flax import nnx

from experiments.depth._patients import ARCHITECTURES, FAULTS, WITH_ZEROS, changed
from sigjax.probe import diagnose

pytestmark = pytest.mark.usefixtures("standard_promotion")

# Those that compile within seconds; the others, and all after training, are tried by `make proofs`
# and `python -m experiments run diagnosis --preset paper`.
QUICK = ("VAE", "mixture of experts", "LSTM classifier", "dict of arrays")
TRIED = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.proof) for name in ARCHITECTURES
]
# Gates with biases of 0 remember some 2 steps, and the sequences have 16.
FORGETFUL = {"seq2seq with attention"}


def kinds(report):
    return {finding.kind for finding in report.findings}


def arrays_of(model):
    return nnx.state(model) if isinstance(model, nnx.Module) else model


def restored(model, before):
    before = jax.tree.map(lambda x: x, before)  # containers of its own, to be changed
    if not isinstance(model, nnx.Module):
        return before
    nnx.update(model, before)
    return model


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", TRIED)
def test_is_healthy_and_each_fault_is_found(name):
    model, loss, batch = ARCHITECTURES[name]()
    healthy = {"forgetting"} if name in FORGETFUL else set()
    assert kinds(diagnose(model, loss, *batch)) == healthy
    before = jax.tree.map(lambda x: x, arrays_of(model))
    for fault in FAULTS[name]:
        broken = changed(restored(model, before), fault)
        found = diagnose(broken, loss, *batch).findings
        expected = [] if fault.kind is None else [fault.kind]
        assert [f.kind for f in found[:1]] == expected, (fault.name, found)
        assert not expected or any(one.startswith(fault.layer) for one in found[0].layers)
        assert diagnose(broken, loss, *batch).findings == found
    assert kinds(diagnose(restored(model, before), loss, *batch)) == healthy


@pytest.mark.proof
@pytest.mark.parametrize("name", WITH_ZEROS)
def test_zeros_of_the_design_are_all_that_is_found(name):
    model, loss, batch = WITH_ZEROS[name]()
    assert kinds(diagnose(model, loss, *batch)) == {"zero_weights"}


@pytest.mark.parametrize(
    "name", ["actor-critic", pytest.param("ResNet with zero-init", marks=pytest.mark.proof)]
)
def test_has_no_finding_after_fifty_steps(name):
    model, loss, batch = (ARCHITECTURES | WITH_ZEROS)[name]()
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(loss)(model, *batch))

    for _ in range(50):
        step(model, optimizer)
    assert kinds(diagnose(model, loss, *batch)) == set()
