"""Reports against gradients by explicit perturbation, on models of every kind of layer."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import sigjax.nn as snn
from sigjax.probe import diagnose, diagnose_linen

pytestmark = pytest.mark.usefixtures("standard_promotion")


def log10_norm(x):
    return np.log10(np.linalg.norm(np.asarray(x, np.float64)))


def names(report):
    return [row.name for row in report.rows]


class ConvNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(8, 4, rngs=rngs)
        self.idle = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x, shifts=None):
        shifts = shifts or {"conv": 0.0, "norm": 0.0, "out": 0.0}
        x = self.conv(x) + shifts["conv"]
        x = nnx.relu(self.norm(x) + shifts["norm"])
        x = self.drop(x).mean((1, 2))
        return self.out(x) + shifts["out"]


def square_loss(model, x, **kwargs):
    return jnp.mean(jnp.square(model(x, **kwargs) - 0.3))


@pytest.mark.slow
def test_a_convolutional_net_with_batch_statistics_against_perturbations():
    model = ConvNet(nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    before = nnx.state(nnx.clone(model))
    report = diagnose(model, square_loss, x)
    chex.assert_trees_all_equal(nnx.state(model), before)
    assert names(report) == ["conv", "norm", "out", "idle"]
    (finding,) = report.findings
    assert (finding.kind, finding.layers) == ("unused", ("idle",))
    assert report.rows[-1].log10_parameter_gradient == -np.inf

    def shifted(shifts):
        return square_loss(nnx.clone(model), x, shifts=shifts)

    shapes = {"conv": (4, 8, 8, 8), "norm": (4, 8, 8, 8), "out": (4, 4)}
    graph, state = nnx.split(model)

    def loss(shifts):
        return square_loss(nnx.merge(graph, state, copy=True), x, shifts=shifts)

    gradients = jax.grad(loss)({name: jnp.zeros(shape) for name, shape in shapes.items()})
    for row in report.rows[:3]:
        np.testing.assert_allclose(row.log10_gradient, log10_norm(gradients[row.name]), atol=5e-7)
        assert row.dtype == "float32"
    norm = report.rows[1]
    assert norm.activation == "relu"
    assert 0.3 < norm.slope_square < 0.7
    parameters = nnx.grad(lambda m: square_loss(m, x))(nnx.clone(model))
    own = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(parameters["conv"])])
    np.testing.assert_allclose(report.rows[0].log10_parameter_gradient, log10_norm(own), atol=5e-7)


def stacked(depth, width, rngs):
    @nnx.split_rngs(splits=depth)
    @nnx.vmap(in_axes=0, out_axes=0)
    def create(rngs):
        return nnx.Linear(width, width, rngs=rngs)

    return create(rngs)


class Scanned(nnx.Module):
    def __init__(self, depth, width, rngs):
        self.blocks = stacked(depth, width, rngs)

    def __call__(self, x):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def run(x, block):
            return nnx.sigmoid(block(x))

        return run(x, self.blocks)


def test_a_scanned_stack_has_a_row_for_each_layer_and_a_rate():
    model = Scanned(12, 200, nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (16, 200))
    report = diagnose(model, lambda m, x: jnp.sum(jnp.sin(m(x))), x)
    assert names(report) == [f"blocks[{i}]" for i in range(12)]
    kernel, bias = model.blocks.kernel[...], model.blocks.bias[...]

    def unrolled(shifts):
        h = x
        for weights, shift, b in zip(kernel, shifts, bias, strict=True):
            h = jax.nn.sigmoid(h @ weights + b + shift)
        return jnp.sum(jnp.sin(h))

    gradients = jax.grad(unrolled)(jnp.zeros((12, 16, 200)))
    expected = [log10_norm(g) for g in gradients]
    np.testing.assert_allclose([r.log10_gradient for r in report.rows], expected, atol=1e-6)
    # lecun_normal weights and slopes just below 1/4: a quarter a layer, and it says so
    ratios = [row.ratio for row in report.rows[1:-1]]
    np.testing.assert_allclose(ratios, 0.24, atol=0.03)
    (finding,) = report.findings
    assert finding.kind == "vanishing"
    assert finding.layers == tuple(names(report))
    assert "each sigmoid layer multiplies it by 0.24" in finding.text
    assert "chi_1 = 0.05" in finding.text
    assert "float16's smallest normal number from layer" in finding.text


def test_layers_of_one_block_stay_together():
    model = snn.MLP(6, 6, 2, depth=3, activation=jnp.tanh, norm="layer", rngs=nnx.Rngs(0))
    report = diagnose(model, lambda m, x: m(x).sum(), jnp.ones((4, 6)) * jnp.arange(6.0))
    blocks = [name.split("[")[1][0] for name in names(report) if "[" in name]
    assert blocks == sorted(blocks)
    assert len(set(blocks)) >= 2


def test_recurrent_layers_show_parameters_or_every_step():
    model = nnx.RNN(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)))
    x = jax.random.normal(jax.random.key(0), (2, 7, 3))

    def loss(m, x):
        return jnp.sum(m(x)[:, -1])

    together = diagnose(model, loss, x)
    apart = diagnose(model, loss, x, per_step=True)
    gradients = nnx.grad(loss)(model, x)["cell"]
    for row in together.rows:
        assert np.isnan(row.log10_gradient)
        own = [np.ravel(leaf) for leaf in jax.tree.leaves(gradients[row.name.split(".")[1]])]
        norm = log10_norm(np.concatenate(own))
        np.testing.assert_allclose(row.log10_parameter_gradient, norm, atol=1e-6)
    steps = [row for row in apart.rows if row.name.startswith("cell[")]
    assert len(steps) == 7
    # the last step's output is what is summed
    np.testing.assert_allclose(steps[-1].log10_gradient, np.log10(10) / 2, atol=1e-6)
    assert steps[0].log10_gradient < steps[-1].log10_gradient


def test_attention_shared_layers_and_ensembles():
    class Twice(nnx.Module):
        def __init__(self, rngs):
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.shared = nnx.Linear(8, 8, rngs=rngs)

        def __call__(self, x):
            return self.shared(jnp.tanh(self.shared(self.attention(x))))

    x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    report = diagnose(Twice(nnx.Rngs(0)), lambda m, x: jnp.sum(m(x) ** 2), x)
    found = names(report)
    assert {"attention.query", "attention.key", "attention.value", "attention.out"} <= set(found)
    assert found[-2:] == ["shared (call 1)", "shared (call 2)"]
    assert all(np.isfinite(row.log10_gradient) for row in report.rows)

    ensemble = stacked(3, 4, nnx.Rngs(0))

    class Members(nnx.Module):
        def __init__(self):
            self.members = ensemble

        def __call__(self, x):
            return nnx.vmap(lambda m, x: m(x), in_axes=(0, None))(self.members, x)

    report = diagnose(Members(), lambda m, x: jnp.sum(m(x) ** 2), jnp.ones((2, 4)))
    members = jnp.einsum("ni,mio->mno", jnp.ones((2, 4)), ensemble.kernel[...])
    np.testing.assert_allclose(report.rows[0].log10_gradient, log10_norm(2 * members), atol=1e-6)


@pytest.mark.slice
def test_gradients_whose_squares_underflow():
    model = nnx.Sequential(nnx.Linear(4, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 4, rngs=nnx.Rngs(1)))
    report = diagnose(model, lambda m, x: m(x).sum() * 1e-33, jnp.ones((2, 4)))
    np.testing.assert_allclose(report.rows[-1].log10_gradient, -33 + np.log10(8) / 2, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_dtypes_are_named_with_their_smallest_number(dtype):
    model = nnx.Linear(4, 4, dtype=dtype, rngs=nnx.Rngs(0))
    wrapped = nnx.Sequential(model)
    report = diagnose(wrapped, lambda m, x: m(x).astype(jnp.float32).sum(), jnp.ones((2, 4)))
    (row,) = report.rows
    assert row.dtype == dtype
    assert row.smallest == float(jnp.finfo(dtype).smallest_normal)
    np.testing.assert_allclose(row.log10_gradient, np.log10(8) / 2, atol=1e-3)


def test_saturated_and_dead_units_are_found():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.gate = nnx.Linear(4, 10, rngs=rngs)
            self.relu = nnx.Linear(10, 10, rngs=rngs)
            self.head = nnx.Linear(10, 1, rngs=rngs)

        def __call__(self, x):
            return self.head(nnx.relu(self.relu(nnx.sigmoid(self.gate(x)))))

    model = Net(nnx.Rngs(0))
    model.gate.bias[...] = jnp.where(jnp.arange(10) < 7, 30.0, 0.0)
    model.relu.bias[...] = jnp.where(jnp.arange(10) < 6, -1e3, 1e3)
    report = diagnose(model, lambda m, x: m(x).sum(), jnp.ones((8, 4)))
    gate, relu, _ = report.rows
    np.testing.assert_allclose(gate.saturated, 0.7, rtol=1e-6)
    np.testing.assert_allclose(relu.dead, 0.6, rtol=1e-6)
    saturated, dead = report.findings
    assert (saturated.kind, saturated.layers) == ("saturated", ("gate",))
    assert "70 % of the outputs of sigmoid behind gate" in saturated.text
    assert (dead.kind, dead.layers) == ("dead", ("relu",))
    assert "60 % of the units behind relu" in dead.text


def test_what_stops_the_gradient_is_said():
    class Cut(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 3, rngs=rngs)
            self.last = nnx.Linear(3, 3, rngs=rngs)

        def __call__(self, x):
            return self.last(jax.lax.stop_gradient(self.first(x)))

    report = diagnose(Cut(nnx.Rngs(0)), lambda m, x: m(x).sum(), jnp.ones((2, 3)))
    assert report.rows[0].log10_gradient == -np.inf
    (finding,) = report.findings
    assert (finding.kind, finding.layers) == ("detached", ("first",))
    assert report.worst()[0].name == "first"


def test_an_exception_leaves_the_model_as_it_was():
    model = ConvNet(nnx.Rngs(0))
    before, kinds = nnx.state(nnx.clone(model)), type(model.conv)

    def fails(model, x):
        model(x)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        diagnose(model, fails, jnp.ones((2, 8, 8, 3)))
    chex.assert_trees_all_equal(nnx.state(model), before)
    assert type(model.conv) is kinds
    with pytest.raises(TypeError, match="must return a floating scalar"):
        diagnose(model, lambda m, x: m(x), jnp.ones((2, 8, 8, 3)))
    with pytest.raises(TypeError):
        diagnose(lambda x: x, square_loss, jnp.ones(3))


def test_under_jit_and_with_a_sharded_batch():
    model = Scanned(4, 8, nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(2), (8, 8))

    def loss(m, x):
        return jnp.sum(m(x))

    plain = diagnose(model, loss, x)
    graph, state = nnx.split(model)
    compiled = jax.jit(lambda state, x: diagnose(nnx.merge(graph, state), loss, x))(state, x)
    mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    sharded = diagnose(model, loss, jax.device_put(x, place))
    for other in (compiled, sharded):
        np.testing.assert_allclose(
            [row.log10_gradient for row in other.rows],
            [row.log10_gradient for row in plain.rows],
            atol=1e-5,
        )


def test_linen_models():
    class Block(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.sigmoid(linen.Dense(50)(x))

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            for _ in range(5):
                x = Block()(x)
            return linen.Dense(1)(x)

    x = jax.random.normal(jax.random.key(0), (4, 50))
    net = Net()
    variables = net.init(jax.random.key(1), x)
    report = diagnose_linen(net.bind(variables), lambda net, x: net(x).sum(), x)
    assert names(report) == [f"Block_{i}.Dense_0" for i in range(5)] + ["Dense_0"]
    gradient = jax.grad(lambda p: net.apply(p, x).sum())(variables)["params"]["Block_0"]["Dense_0"]
    own = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
    np.testing.assert_allclose(report.rows[0].log10_parameter_gradient, log10_norm(own), atol=5e-7)
    with pytest.raises(TypeError, match="bound Linen module"):
        diagnose_linen(net, lambda net, x: net(x).sum(), x)


def test_table_dataset_and_figure():
    report = diagnose(Scanned(5, 6, nnx.Rngs(0)), lambda m, x: m(x).sum(), jnp.ones((2, 6)))
    text = str(report)
    assert "ratio to next" in text
    assert "Linear + sigmoid" in text
    dataset = report.to_xarray()
    assert dataset.sizes["layer"] == 5
    np.testing.assert_allclose(dataset["log10_gradient"], [r.log10_gradient for r in report.rows])
    figure = report.plot()
    assert all(axes.get_ylabel() for axes in figure.axes)
