"""The pairwise loss: its forms agree with each other and with the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from sigjax.losses import sigmoid_pairwise_loss

pytestmark = pytest.mark.usefixtures("optimized")

PAIRS, FEATURES = 64, 16


@pytest.fixture(scope="module")
def arguments():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(PAIRS, FEATURES))
    y = rng.normal(size=(PAIRS, FEATURES)) + x
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), 10.0, -8.0


def definition(x, y, temperature, bias, labels=None):
    """In float64 NumPy, with gradients from the closed form; by the labels last."""
    x, y = np.float64(x), np.float64(y)
    labels = np.eye(len(x)) if labels is None else np.float64(labels)
    similarity = x @ y.T
    logits = temperature * similarity + bias
    entropy = labels * np.logaddexp(0, -logits) + (1 - labels) * np.logaddexp(0, logits)
    slope = (1 / (1 + np.exp(-logits)) - labels) / len(x)
    return entropy.sum() / len(x), (
        temperature * slope @ y,
        temperature * slope.T @ x,
        (slope * similarity).sum(),
        slope.sum(),
        -logits / len(x),
    )


def assert_same(found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6 * np.abs(theirs).max())


def sharded(chunk_size):
    mesh = jax.make_mesh((4,), ("data",))

    def local(*arguments):
        return sigmoid_pairwise_loss(*arguments, axis_name="data", chunk_size=chunk_size)

    split = jax.shard_map(
        local, mesh=mesh, in_specs=(P("data"), P("data"), P(), P()), out_specs=P()
    )

    def loss(x, y, temperature, bias):
        x, y = jax.reshard((x, y), jax.NamedSharding(mesh, P("data")))
        return split(x, y, jnp.float32(temperature), jnp.float32(bias))

    return loss


def chunked(chunk_size):
    return lambda *arguments: sigmoid_pairwise_loss(*arguments, chunk_size=chunk_size)


FORMS = {
    "plain": sigmoid_pairwise_loss,
    "chunked": chunked(8),
    "one at a time": chunked(1),
    "sharded": sharded(None),
    "sharded and chunked": sharded(4),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FORMS)
def test_value_and_gradients_are_those_of_the_definition(name, arguments):
    found = jax.jit(jax.value_and_grad(FORMS[name], (0, 1, 2, 3)))(*arguments)
    loss, gradients = definition(*arguments)
    assert_same(found, (loss, gradients[:4]))


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_agree_with_each_other(name, arguments):
    found, expected = (
        jax.jit(jax.value_and_grad(FORMS[form], (0, 1, 2, 3)))(*arguments)
        for form in (name, "plain")
    )
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        difference = np.max(np.abs(ours - theirs))
        assert difference <= 1e-6 * np.max(np.abs(theirs))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["plain", "chunked", "sharded"])
def test_forward_mode_and_second_derivatives(name, arguments):
    loss = FORMS[name]
    x, y, temperature, bias = arguments

    def naive(temperature):
        logits = temperature * (x @ y.T) + bias
        return jnp.sum(jnp.logaddexp(0.0, jnp.where(jnp.eye(PAIRS) == 1, -logits, logits))) / PAIRS

    def ours(temperature):
        return loss(x, y, temperature, bias)

    slope = jax.jvp(ours, (temperature,), (1.0,))[1]
    np.testing.assert_allclose(slope, jax.grad(naive)(temperature), rtol=1e-5)
    second, expected = (jax.jit(jax.grad(jax.grad(f)))(temperature) for f in (ours, naive))
    np.testing.assert_allclose(second, expected, rtol=1e-4)


TEXTS = 24  # more than there are images


@pytest.fixture(scope="module")
def labelled(arguments):
    """Some images, more texts, and how well they fit: certain, impossible or in between."""
    x, y, temperature, _ = arguments
    labels = np.random.default_rng(1).choice([0.0, 0.25, 1.0], (16, TEXTS)).astype(np.float32)
    labels[3] = 0  # an image without a text
    return x[:16], y[:TEXTS], temperature, -1.0, jnp.asarray(labels)


def with_labels(chunk_size=None):
    def loss(x, y, temperature, bias, labels):
        return sigmoid_pairwise_loss(x, y, temperature, bias, labels=labels, chunk_size=chunk_size)

    return loss


def shards_with_labels(x, y, temperature, bias, labels):
    """Labels are split by their images, and have the columns of all texts."""
    mesh = jax.make_mesh((4,), ("data",))
    by_image = P("data")

    def local(x, y, temperature, bias, labels):
        options = {"axis_name": "data", "labels": labels, "chunk_size": 3}
        return sigmoid_pairwise_loss(x, y, temperature, bias, **options)

    split = jax.shard_map(
        local, mesh=mesh, in_specs=(by_image, by_image, P(), P(), by_image), out_specs=P()
    )
    x, y, labels = jax.reshard((x, y, labels), jax.NamedSharding(mesh, by_image))
    return split(x, y, jnp.float32(temperature), jnp.float32(bias), labels)


LABELLED = {
    "plain": with_labels(),
    "chunked": with_labels(8),
    "sharded and chunked": shards_with_labels,
}


@pytest.mark.parametrize("name", LABELLED)
def test_a_matrix_of_labels_for_unequal_numbers(name, labelled):
    loss = jax.value_and_grad(LABELLED[name], (0, 1, 2, 3, 4))
    assert_same(jax.jit(loss)(*labelled), definition(*labelled))


def test_explicit_axes_of_images_and_of_features(labelled):
    places = P("data", "model"), P("data"), P(), P(), P("data")
    mesh = jax.make_mesh((2, 2), ("data", "model"))
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(jnp.asarray(each), jax.NamedSharding(mesh, place))
            for each, place in zip(labelled, places, strict=True)
        ]
        loss = jax.value_and_grad(with_labels(), (0, 1, 2, 3, 4))
        found = jax.jit(loss)(*placed)
    assert_same(found, definition(*labelled))


def test_whole_and_boolean_labels_are_the_same_labels(labelled):
    x, y, temperature, bias, labels = labelled
    known = labels == 1
    expected, by_image = jax.value_and_grad(with_labels())(
        x, y, temperature, bias, known.astype(jnp.float32)
    )
    for dtype in (bool, jnp.int8):
        same = known.astype(dtype)
        found = jax.value_and_grad(with_labels())(x, y, temperature, bias, same)
        np.testing.assert_array_equal(found[0], expected)
        np.testing.assert_array_equal(found[1], by_image)


def test_labels_on_the_diagonal_are_no_labels(arguments):
    x, y, temperature, bias = arguments
    found, expected = (
        sigmoid_pairwise_loss(x, y, temperature, bias, labels=labels)
        for labels in (jnp.eye(PAIRS), None)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_second_derivatives_with_labels(labelled):
    x, y, temperature, bias, labels = labelled

    def naive(bias):
        logits = temperature * (x @ y.T) + bias
        entropy = jax.nn.softplus(logits) - labels * logits
        return jnp.sum(entropy) / len(x)

    def ours(bias):
        return with_labels(8)(x, y, temperature, bias, labels)

    second, expected = (jax.jit(jax.grad(jax.grad(f)))(bias) for f in (ours, naive))
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def test_memory_of_the_chunked_form():
    shape = jax.ShapeDtypeStruct((4096, 32), jnp.float32)
    bytes_of = {}
    for size in (None, 128):
        program = jax.jit(jax.value_and_grad(chunked(size), (0, 1, 2, 3)))
        analysis = program.lower(shape, shape, 10.0, -10.0).compile().memory_analysis()
        bytes_of[size] = analysis.temp_size_in_bytes
    assert bytes_of[128] < bytes_of[None] / 8


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bit_embeddings(dtype, arguments):
    x, y, temperature, bias = arguments
    x, y = x.astype(dtype), y.astype(dtype)
    loss, (by_image, *_) = jax.value_and_grad(sigmoid_pairwise_loss, (0, 1, 2, 3))(
        x, y, temperature, bias
    )
    expected, (exact, *_) = definition(x, y, temperature, bias)
    assert loss.dtype == by_image.dtype == dtype
    assert float(loss) == pytest.approx(expected, rel=2 * float(jnp.finfo(dtype).eps))
    error = np.linalg.norm(np.float64(by_image) - exact) / np.linalg.norm(exact)
    assert error < float(jnp.finfo(dtype).eps)


def test_certain_pairs_cost_nothing_and_wrong_ones_what_they_should():
    x = jnp.eye(4)
    assert sigmoid_pairwise_loss(x, x, 400.0, -200.0) == 0
    crossed = sigmoid_pairwise_loss(x, jnp.roll(x, 1, axis=0), 400.0, -200.0)
    assert crossed == 400  # every image misses its text by 200 and takes another's for it by 200


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"text": np.zeros((3, 2), np.float32)},
            ValueError,
            r"one shape \[N, features\], got \(4, 2\)",
        ),
        ({"image": np.zeros(4, np.float32)}, ValueError, r"one shape \[N, features\]"),
        ({"image": np.zeros((4, 2), np.complex64)}, TypeError, "'image' must be real"),
        ({"temperature": np.zeros(2, np.float32)}, ValueError, "'temperature' must be a scalar"),
        ({"chunk_size": 3}, ValueError, "'chunk_size' must divide the 4 texts, got 3"),
        ({"chunk_size": 0}, ValueError, "'chunk_size' must be at least 1, got 0"),
        (
            {"labels": np.eye(3, dtype=np.float32)},
            ValueError,
            r"'labels' must have shape \[N, M\] = \(4, 4\), got \(3, 3\)",
        ),
        (
            {"labels": np.zeros((4, 5), np.float32), "text": np.zeros((5, 3), np.float32)},
            ValueError,
            r"shapes \[N, features\] and \[M, features\], got \(4, 2\) and \(5, 3\)",
        ),
        ({"labels": np.zeros((4, 4), np.complex64)}, TypeError, "'labels' must be real"),
    ],
)
def test_refusals(change, error, message):
    arguments = {
        "image": jnp.zeros((4, 2)),
        "text": jnp.zeros((4, 2)),
        "temperature": 1.0,
        "bias": 0.0,
    }
    with pytest.raises(error, match=message):
        sigmoid_pairwise_loss(**(arguments | change))
