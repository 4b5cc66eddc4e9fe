"""Every module under Flax's and JAX's transformations, sharded, saved, in both graph modes."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax import lax
from jax.sharding import PartitionSpec as P

import sigjax.nn as snn
from tests.nn.models import MODELS, build


@pytest.fixture(autouse=True)
def standard_promotion(request):
    """Flax's norms promote bfloat16 with float32 in silence."""
    norm = "norm" in request.node.name
    with jax.numpy_dtype_promotion("standard" if norm else "strict"):
        yield


def total(model, inputs):
    return jnp.sum(jnp.square(model(inputs).astype(jnp.float32)))


@pytest.mark.sampled(8, 4)
@pytest.mark.parametrize("name", MODELS)
def test_jit_gives_the_same_and_updates_the_same(name):
    model, inputs = build(name)
    twin, _ = build(name)
    expected = model(inputs)
    found = nnx.jit(lambda model, inputs: model(inputs))(twin, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    statistics = (nnx.state(m, nnx.BatchStat) for m in (model, twin))
    chex.assert_trees_all_close(*map(nnx.to_pure_dict, statistics), rtol=1e-5, atol=1e-6)


@functools.cache
def gradients(name):
    """Flax's gradient, JAX's over the split state, the slope along it and its squared norm."""
    model, inputs = build(name)

    @nnx.jit
    def everything(model):
        graph, parameters, rest = nnx.split(model, nnx.Param, ...)

        def loss(parameters):
            return total(nnx.merge(graph, parameters, rest, copy=True), inputs)

        value, gradient = jax.value_and_grad(loss)(parameters)
        squared = sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient))
        step = 1e-2 * value / squared

        def moved(distance):
            return loss(jax.tree.map(lambda p, g: p - distance * g, parameters, gradient))

        ahead, behind = lax.map(moved, jnp.stack([step, -step]))
        return nnx.grad(total)(model, inputs), gradient, (ahead - behind) / (2 * step), squared

    return everything(model)


@pytest.mark.sampled(16, 1)
@pytest.mark.parametrize("name", MODELS)
def test_nnx_grad_is_jax_grad_over_the_split_state(name):
    found, expected, _, _ = gradients(name)
    chex.assert_trees_all_close(
        nnx.to_pure_dict(found), nnx.to_pure_dict(expected), rtol=1e-4, atol=1e-5
    )
    leaves = jax.tree.leaves(expected)
    assert leaves
    assert all(jnp.any(leaf != 0) for leaf in leaves)


@pytest.mark.sampled(8, 1)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_along_the_gradient_lowers_the_loss(name):
    """The gradient's own oracle: the loss's slope along it is minus its squared norm."""
    *_, slope, squared = gradients(name)
    assert float(slope) == pytest.approx(-float(squared), rel=0.03)


@pytest.mark.sampled(8, 2)
@pytest.mark.parametrize("name", MODELS)
def test_vmap_over_an_ensemble(name):
    make, inputs = MODELS[name]

    @nnx.jit
    def ensemble(rngs):
        models = nnx.vmap(lambda rngs: make(rngs=rngs))(rngs)
        return nnx.vmap(lambda model, x: model(x), in_axes=(0, None))(models, inputs)

    outputs = ensemble(nnx.Rngs(0).split(3))
    assert outputs.shape[0] == 3
    assert jnp.all(jnp.isfinite(outputs))
    if name != "SigmoidNeuron":  # it starts at 0 whatever the seed
        assert not jnp.allclose(outputs[0], outputs[1])


def test_scan_over_a_stack_of_highways():
    stack = nnx.vmap(lambda rngs: snn.Highway(8, rngs=rngs))(nnx.Rngs(0).split(5))
    x = jnp.ones((2, 8))
    outputs = nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(
        x, stack
    )
    graph, state = nnx.split(stack)
    expected = x
    for layer in range(5):
        expected = nnx.merge(graph, jax.tree.map(lambda leaf: leaf[layer], state))(expected)  # noqa: B023
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", MODELS)
def test_tree_mode(name):
    """Flax's other mode: modules are plain pytrees, returned rather than updated."""
    model, inputs = build(name)
    expected = model(inputs)
    model, _ = build(name)

    def call(model, inputs):
        return model(inputs)

    found = nnx.jit(call, graph=False)(model, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.sampled(8, 3)
@pytest.mark.parametrize("name", MODELS)
def test_checkpoint_round_trip(name, tmp_path):
    model, inputs = build(name)
    other, _ = build(name, seed=1)
    path = tmp_path / "state"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, nnx.to_pure_dict(nnx.state(model, nnx.Param)))
        checkpointer.wait_until_finished()
        blank = nnx.to_pure_dict(nnx.state(other, nnx.Param))
        restored = checkpointer.restore(path, jax.tree.map(jnp.zeros_like, blank))
    state = nnx.state(other, nnx.Param)
    nnx.replace_by_pure_dict(state, restored)
    nnx.update(other, state)
    chex.assert_trees_all_equal(
        *(nnx.to_pure_dict(nnx.state(m, nnx.Param)) for m in (other, model))
    )
    chex.assert_trees_all_close(other(inputs), model(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.sampled(8, 2)
@pytest.mark.parametrize("name", MODELS)
def test_dtype_of_the_computation(name):
    models = {dtype: build(name, dtype=dtype)[0] for dtype in (jnp.bfloat16, jnp.float16)}
    reference, inputs = build(name)
    run = nnx.jit(lambda *models: [model(inputs) for model in models])
    expected, *found = run(reference, *models.values())
    for (dtype, model), outputs in zip(models.items(), found, strict=True):
        assert outputs.dtype == dtype
        leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
        assert all(leaf.dtype == jnp.float32 for leaf in leaves)
        error = np.linalg.norm(np.float32(outputs) - expected) / np.linalg.norm(expected)
        assert error < 4 * float(jnp.finfo(dtype).eps)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", MODELS)
def test_dtype_of_the_parameters(name):
    if name == "MLP, batch norm":
        pytest.skip("Flax keeps the statistics, and with them what it normalises, in float32")
    # Tracing finds the dtypes; what is computed in them is the matter of other tests.
    make, inputs = MODELS[name]
    model = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16))

    def loss(model, inputs):
        outputs = model(inputs)
        return jnp.sum(jnp.square(outputs.astype(jnp.float32))), outputs

    gradient, outputs = nnx.eval_shape(
        nnx.grad(loss, has_aux=True), model, inputs.astype(jnp.bfloat16)
    )
    of_all = jax.tree.leaves((nnx.state(model, nnx.Param), gradient, outputs))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in of_all)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["MLP", "GRUCell", "LSTMCell", "MinGRU", "SoftSwitch", "Highway"])
def test_sharding_metadata(name):
    mesh = jax.make_mesh((2, 2), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)
    options = {"kernel_metadata": {"out_sharding": (None, "model")}}
    plain, inputs = build(name)
    if name in ("GRUCell", "LSTMCell"):
        options["recurrent_kernel_metadata"] = options["kernel_metadata"]
    if name == "MLP":
        options = {}  # its last kernel has three columns; see the next test
    with jax.set_mesh(mesh):
        model, _ = build(name, **options)
        specs = nnx.get_partition_spec(nnx.state(model, nnx.Param))
        kernels = jax.tree.leaves(specs, is_leaf=lambda spec: isinstance(spec, P))
        assert name in ("MLP", "SoftSwitch") or any("model" in (spec or ()) for spec in kernels)
        batch = jax.device_put(inputs, jax.NamedSharding(mesh, P()))
        found = nnx.jit(lambda model, x: model(x))(model, batch)
    np.testing.assert_allclose(found, plain(inputs), rtol=1e-5, atol=1e-6)


def test_the_stack_of_an_mlp_has_one_axis_more_in_its_metadata():
    mesh = jax.make_mesh((4,), ("model",), (jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        metadata = {"out_sharding": (None, "model")}
        model = snn.MLP(8, 16, 4, depth=3, rngs=nnx.Rngs(0), kernel_metadata=metadata)
    kernel = model.stack.linear.kernel
    assert kernel.shape == (2, 16, 16)
    assert model.first.linear.kernel.get_metadata()["out_sharding"] == (None, "model")
    assert tuple(kernel.get_metadata()["out_sharding"]) == (None, None, "model")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["MLP", "SqueezeExcite", "GRUCell in nnx.RNN", "MultiLabelHead"])
def test_linen_through_the_bridge(name):
    make, inputs = MODELS[name]
    module = nnx.bridge.to_linen(make)
    variables = module.init(jax.random.key(0), inputs)
    outputs = module.apply(variables, inputs)
    gradient = jax.grad(lambda p: jnp.sum(module.apply({**variables, "params": p}, inputs) ** 2))(
        variables["params"]
    )
    assert jnp.all(jnp.isfinite(outputs))
    assert jax.tree.structure(gradient) == jax.tree.structure(variables["params"])
    assert any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
