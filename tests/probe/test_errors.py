"""What cannot be diagnosed is refused with what to do instead."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen, nnx

from sigjax.probe import diagnose, diagnose_linen, value_and_grad

X = jnp.ones((4, 3))
TREE = {"w": jnp.ones((3, 2))}


def mean(model, x):
    return jnp.mean(x @ model["w"])


def evaluate(model, loss, *batch, **options):
    return value_and_grad(loss, **options)(model, *batch)


@pytest.mark.parametrize("function", [diagnose, evaluate])
def test_a_loss_is_a_floating_scalar(function):
    cases = [
        (lambda p, x: x @ p["w"], {}, r"got float32\[4, 2\]; take a mean or sum"),
        (lambda p, x: mean(p, x).astype(jnp.complex64), {}, r"got complex64\[\].*or the real part"),
        (lambda p, x: jnp.sum((x @ p["w"]).astype(jnp.int32)), {}, r"got int32\[\]"),
        (lambda p, x: None, {}, "got NoneType"),
        (lambda p, x: (mean(p, x), x), {}, "pass has_aux=True"),
        (mean, {"has_aux": True}, r"must return \(loss, aux\) with has_aux=True, got float32"),
        (lambda p, x: (mean(p, x), x, x), {"has_aux": True}, r"must return \(loss, aux\)"),
    ]
    for loss, options, words in cases:
        with pytest.raises(TypeError, match=words):
            function(TREE, loss, X, **options)


def test_a_model_has_parameters():
    class Empty(nnx.Module):
        def __call__(self, x):
            return x

    for model in (Empty(), {}, {"count": jnp.arange(3)}):
        with pytest.raises(ValueError, match="'model' must have parameters"):
            diagnose(model, lambda m, x: jnp.mean(x), X)


def test_a_model_is_a_module_or_a_tree():
    with pytest.raises(TypeError, match=r"'model' must be a flax.nnx.Module or a pytree"):
        diagnose(lambda x: x, mean, X)


def test_a_linen_module_is_bound():
    module = linen.Dense(2)
    with pytest.raises(TypeError, match=r"use diagnose_linen with `module.bind\(variables\)`"):
        diagnose(module, lambda m, x: jnp.mean(m(x)), X)
    with pytest.raises(TypeError, match=r"bound Linen module, module.bind\(variables\), got Dense"):
        diagnose_linen(module, lambda m, x: jnp.mean(m(x)), X)


def test_shapes_without_values_are_named():
    model = nnx.eval_shape(lambda: nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="'model' must have values, got a shape alone for bias"):
        diagnose(model, lambda m, x: jnp.mean(m(x)), X)
    with pytest.raises(TypeError, match="got a shape alone for w"):
        diagnose(jax.eval_shape(lambda: TREE), mean, X)


def test_arrays_that_are_gone_are_named():
    tree, batch = {"w": jnp.ones((3, 2)) * 2}, X + 1
    tree["w"].delete()
    with pytest.raises(
        ValueError, match="got w, donated or deleted; pass the model that came back"
    ):
        diagnose(tree, mean, X)
    batch.delete()
    with pytest.raises(ValueError, match="'batch' must hold arrays that are still there"):
        diagnose(TREE, mean, batch)
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    model.kernel[...].delete()
    with pytest.raises(ValueError, match="got kernel, donated or deleted"):
        diagnose(model, lambda m, x: jnp.mean(m(x)), X)


def test_parameters_are_real():
    class Complex(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones((3, 2), jnp.complex64))

    with pytest.raises(
        TypeError, match="'model' must have floating parameters, got complex64 of w"
    ):
        diagnose(Complex(), lambda m, x: jnp.mean(jnp.abs(x @ m.w[...])), X)


def test_a_report_is_read_outside():
    def inside(x):
        return len(diagnose(TREE, mean, x).rows)

    with pytest.raises(TypeError, match="return it from the traced function, or use `scalars`"):
        jax.jit(inside)(X)
    report = diagnose(TREE, mean, X)
    with pytest.raises(ValueError, match="nothing was measured for this report"):
        _ = report.unmeasured().findings
    other = diagnose({"w": jnp.ones((3, 5))}, mean, X)
    with pytest.raises(ValueError, match="reports of the same loss and model"):
        report.merge(other)


def test_an_error_of_the_loss_comes_through_and_changes_nothing():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    kind = type(model)

    def fails(model, x):
        model(x)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        value_and_grad(fails)(model, X)
    assert type(model) is kind
