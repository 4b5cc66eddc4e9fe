"""The router against its definition in NumPy's float64, and mixtures of experts made with it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax.nn as snn

EXPERTS = 8
LOGITS = np.random.default_rng(0).normal(size=(3, 5, EXPERTS)).astype(np.float32)
BIAS = np.random.default_rng(1).normal(size=EXPERTS).astype(np.float32) / 4


@pytest.fixture(autouse=True, scope="module")
def hardly_optimized():
    """Small programs: to optimise them takes longer than to run them."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def router_of_logits(num_experts=EXPERTS, bias=0.0, **options):
    """A router whose inputs are its logits."""
    router = snn.SigmoidRouter(num_experts, num_experts, rngs=nnx.Rngs(0), **options)
    router.linear.kernel[...] = jnp.eye(num_experts)
    router.bias[...] = jnp.broadcast_to(jnp.float32(bias), num_experts)
    return router


def routed(router, inputs, **options):
    return jax.jit(lambda x: router(x, **options))(inputs)


def log_sigmoid(z):
    return -np.logaddexp(0, -np.float64(z))


def first(scores, count):
    """Indices of the largest, the lowest of equal ones first."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]


def chosen_by_definition(logits, bias, k, num_groups=1, groups_per_token=None):
    scores = np.exp(log_sigmoid(logits)) + np.float64(bias)
    members = np.arange(len(scores)).reshape(num_groups, -1)
    of_groups = [sum(sorted(scores[group])[-2:]) for group in members]
    kept = members[first(of_groups, groups_per_token or num_groups)]
    eligible = [score if i in kept else -math.inf for i, score in enumerate(scores)]
    return first(eligible, k)


def weights_by_definition(logits, chosen):
    log_affinity = log_sigmoid(np.take_along_axis(np.float64(logits), chosen, -1))
    shares = np.exp(log_affinity - log_affinity.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    "groups",
    [
        {},
        {"num_groups": 4, "groups_per_token": 2},
        pytest.param({"num_groups": 8, "groups_per_token": 5}, marks=pytest.mark.proof),
    ],
)
def test_choice_and_weights_are_those_of_the_definition(groups):
    router = router_of_logits(bias=BIAS, experts_per_token=3, route_scale=2.5, **groups)
    routing, gates = routed(router, LOGITS, return_gates=True)
    chosen = np.apply_along_axis(chosen_by_definition, -1, LOGITS, BIAS, 3, **groups)
    np.testing.assert_array_equal(routing.experts, chosen)
    np.testing.assert_allclose(
        routing.weights, 2.5 * weights_by_definition(LOGITS, chosen), rtol=1e-6
    )
    np.testing.assert_allclose(gates, np.exp(log_sigmoid(LOGITS)), rtol=1e-6)
    counts = np.bincount(chosen.ravel(), minlength=EXPERTS)
    np.testing.assert_array_equal(routing.load.counts, counts)
    np.testing.assert_array_equal(routing.load.dropped, 0)
    assert routing.load.counts.dtype == routing.experts.dtype == jnp.int32
    assert float(routing.load.max_over_mean) == pytest.approx(counts.max() / counts.mean())


def test_groups_are_kept_to_where_all_scores_are_negative():
    """Scores of 0 outside of the groups, as in the first public code, would be the largest."""
    router = router_of_logits(bias=-5.0, experts_per_token=4, num_groups=4, groups_per_token=2)
    groups = np.sort(np.asarray(routed(router, LOGITS).experts) // 2, axis=-1)
    assert np.all(groups[..., 0] == groups[..., 1])
    assert np.all(groups[..., 2] == groups[..., 3])


# Rows of logits of which the first two are chosen.
SATURATED = [
    [50, 49, -50, -60],
    [-50, -51, -55, -60],
    [-200, -200.5, -201, -300],
    [0, -25, -50, -100],
    [30, -30, -200, -250],
    [88, 17, -3000, -3100],
    [-1000, -1001, -1002, -1003],
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("k", [2, 3])
def test_saturated_logits_have_right_weights_and_gradients(dtype, k):
    """All digits, also where all affinities of the chosen are 0 in float32 or all are 1."""
    logits = jnp.asarray(SATURATED, dtype)
    # What is exactly a tie in float32 has its order from the bias.
    router = router_of_logits(4, np.float32([0.3, 0.2, 0.1, 0]), experts_per_token=k)
    cotangent = np.float32([1.0, -0.5, 0.75])[:k]

    def total(logits):
        routing = router(logits)
        return jnp.sum(routing.weights * cotangent.reshape(1, k)), routing

    (_, routing), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(logits)
    z = np.float64(logits)
    scores = np.exp(log_sigmoid(z)) + np.array([0.3, 0.2, 0.1, 0])
    chosen = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    np.testing.assert_array_equal(routing.experts, chosen)
    w = weights_by_definition(z, chosen)
    assert routing.weights.dtype == jnp.float32
    # An ulp of the logarithm of a share is a relative error of the share.
    allowed = 2.0**-23 * (8 + abs(np.log(np.maximum(w, 1e-37)))) * w
    assert np.all(abs(routing.weights - w) <= allowed + 1e-37)
    pairs = w[:, :, None] * w[:, None, :]
    slopes = np.sum(pairs * (cotangent[:, None] - cotangent[None, :]), axis=2)
    terms = np.sum(pairs * (abs(cotangent[:, None]) + abs(cotangent[None, :])), axis=2)
    complements = np.exp(log_sigmoid(-np.take_along_axis(z, chosen, -1)))
    found = np.take_along_axis(np.float64(gradient), chosen, -1)
    eps = float(jnp.finfo(dtype).eps)
    off = abs(found - slopes * complements)
    allowed = eps * (8 + abs(np.log(np.maximum(w, 1e-37)))) * terms * complements
    assert np.all(off <= allowed + 1e-37)
    assert gradient.dtype == dtype
    others = np.ones_like(z, bool)
    np.put_along_axis(others, chosen, False, -1)
    np.testing.assert_array_equal(np.float32(gradient)[others], 0)


def test_unnormalized_weights_are_the_affinities_and_a_single_expert_learns():
    router = router_of_logits(experts_per_token=1, normalize=False)

    def total(x):
        weights = router(x).weights
        return jnp.sum(weights), weights

    slope, weights = jax.jit(jax.grad(total, has_aux=True))(LOGITS)
    chosen = LOGITS.argmax(-1)[..., None]
    largest = np.take_along_axis(LOGITS, chosen, -1)
    np.testing.assert_allclose(weights, np.exp(log_sigmoid(largest)), rtol=1e-6)
    expected = np.exp(log_sigmoid(largest) + log_sigmoid(-largest))
    np.testing.assert_allclose(np.take_along_axis(slope, chosen, -1), expected, rtol=1e-6)


def test_ties_go_to_the_lowest_index_however_they_are_computed():
    router = router_of_logits(experts_per_token=3, num_groups=4, groups_per_token=3)
    # Equal; rounded to 1; underflown to 0.
    logits = jnp.float32(jnp.array([[0.5], [90.0], [-200.0]])) + jnp.zeros((3, EXPERTS))
    expected = np.broadcast_to(np.arange(3), (3, 3))
    for call in (router, jax.vmap(router)):
        np.testing.assert_array_equal(jax.jit(call)(logits).experts, expected)


def test_the_bias_is_no_parameter_and_has_no_gradient():
    router = router_of_logits(bias=BIAS, experts_per_token=2)
    graph, bias, rest = nnx.split(router, snn.RouterBias, ...)

    def total(bias):
        weights = nnx.merge(graph, bias, rest)(LOGITS).weights
        return jnp.sum(weights**2), weights

    slope = jax.jit(jax.grad(total, has_aux=True))
    found, weights = slope(bias)
    np.testing.assert_array_equal(found.bias[...], 0)
    assert set(nnx.to_pure_dict(nnx.state(router, nnx.Param))) == {"linear"}
    _, moved = slope(jax.tree.map(lambda b: b + 7, bias))
    np.testing.assert_array_equal(moved, weights)


@pytest.mark.parametrize("factor", [0.5, 1.25])
def test_what_exceeds_the_capacity_is_dropped_in_order(factor):
    logits = LOGITS + np.linspace(2, 0, EXPERTS, dtype=np.float32)
    router = router_of_logits(experts_per_token=2, capacity_factor=factor)
    kept = routed(router, logits)
    free = routed(router_of_logits(experts_per_token=2), logits)
    capacity = math.ceil(factor * 15 * 2 / EXPERTS)
    experts = np.asarray(free.experts).reshape(15, 2)
    places, dropped = np.zeros(EXPERTS, int), np.zeros(EXPERTS, int)
    expected = experts.copy()
    for choice in range(2):
        for token in range(15):
            expert = experts[token, choice]
            if places[expert] == capacity:
                expected[token, choice] = EXPERTS
                dropped[expert] += 1
            else:
                places[expert] += 1
    assert 0 < dropped.sum() < 30
    np.testing.assert_array_equal(np.asarray(kept.experts).reshape(15, 2), expected)
    np.testing.assert_array_equal(kept.load.dropped, dropped)
    np.testing.assert_array_equal(kept.load.counts, free.load.counts)
    assert float(kept.load.dropped_share) == pytest.approx(dropped.sum() / 30)
    has_place = np.asarray(kept.experts) < EXPERTS
    np.testing.assert_array_equal(kept.weights, np.where(has_place, free.weights, 0))


def test_a_factor_that_binary_fractions_round_is_exact():
    """1.1 of 100 choices over 10 experts are 11, and 1.1 * 10 is 11.000000000000002."""
    router = router_of_logits(10, experts_per_token=1, capacity_factor=1.1)
    load = routed(router, np.tile(-np.arange(10, dtype=np.float32), (100, 1))).load
    assert int(load.counts[0]) - int(load.dropped[0]) == 11


def test_padding_goes_nowhere_and_takes_no_place():
    where = np.arange(15).reshape(3, 5) % 3 > 0
    router = router_of_logits(experts_per_token=2, capacity_factor=4.0)
    routing = routed(router, LOGITS, where=where)
    alone = routed(router_of_logits(experts_per_token=2), LOGITS[where])
    np.testing.assert_array_equal(np.asarray(routing.experts)[where], alone.experts)
    np.testing.assert_array_equal(np.asarray(routing.weights)[where], alone.weights)
    np.testing.assert_array_equal(np.asarray(routing.experts)[~where], EXPERTS)
    np.testing.assert_array_equal(np.asarray(routing.weights)[~where], 0)
    np.testing.assert_array_equal(routing.load.counts, alone.load.counts)
    np.testing.assert_array_equal(routing.load.dropped, 0)


def test_the_bias_moves_against_the_load():
    counts = np.array([[5, 3, 1, 3], [4, 0, 0, 0], [2, 2, 2, 2], [2, 2, 2, 1]], np.int32)
    update = jax.jit(snn.update_router_bias, static_argnames="rate")
    found = update(jnp.ones((4, 4)), counts, rate=0.25)
    expected = 1 + 0.25 * np.sign(counts.mean(-1, keepdims=True) - counts)
    np.testing.assert_array_equal(found, expected)
    # A mean that float32 would round to the smaller count.
    large = jnp.array([2**24 + 1, 2**24], jnp.int32)
    np.testing.assert_array_equal(update(jnp.zeros(2), large, rate=1.0), [-1, 1])
    with pytest.raises(TypeError, match="'counts' must be integers"):
        snn.update_router_bias(jnp.zeros(2), jnp.zeros(2))


@nnx.jit
def loads_of_steps(router, keys, direction):
    """The counts of steps over tokens with a common direction, the bias updated after each."""

    def step(router, key):
        load = router(jax.random.normal(key, (512, 16)) + direction[None]).load
        router.update_bias(load)
        return router, load.counts

    return nnx.scan(step, in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))(router, keys)[1]


def test_skewed_tokens_are_balanced_without_an_auxiliary_loss():
    """DeepSeek-V3's rate of .001, on experts that some tokens like and others never choose."""
    router = snn.SigmoidRouter(16, EXPERTS, experts_per_token=2, rngs=nnx.Rngs(0))
    direction = 2 * jnp.sin(jnp.arange(16.0))
    keys = jax.random.split(jax.random.key(0), 1200)
    counts = np.asarray(loads_of_steps(router, keys, direction))
    assert counts.sum() == 1200 * 512 * 2
    before, after = (
        float(snn.RouterLoad(jnp.asarray(some.sum(0)), jnp.zeros(EXPERTS, int)).max_over_mean)
        for some in (counts[:20], counts[-100:])
    )
    assert before > 2
    assert after < 1.1
    assert np.all(counts[-100:].max(-1) / counts.mean() < 1.5)


def test_the_load_of_no_tokens():
    load = snn.RouterLoad(jnp.zeros(3, jnp.int32), jnp.zeros(3, jnp.int32))
    assert load.max_over_mean == load.dropped_share == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_groups": 3}, "'num_groups' must divide the 8 experts"),
        ({"num_groups": 4, "groups_per_token": 5}, "'groups_per_token' must be at most the 4"),
        ({"experts_per_token": 9}, "'experts_per_token' must be at most the 8"),
        ({"num_groups": 4, "groups_per_token": 1, "experts_per_token": 3}, "at most the 2"),
        ({"capacity_factor": 0.0}, "'capacity_factor' must be positive"),
        ({"experts_per_token": 0}, "experts_per_token must be at least 1"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        router_of_logits(**{"experts_per_token": 2, **change})


def test_refusals_of_inputs():
    router = router_of_logits(experts_per_token=2)
    with pytest.raises(ValueError, match="8 features"):
        router(jnp.ones((3, 7)))
    with pytest.raises(ValueError, match=r"'where' must have shape \(3, 5\)"):
        router(LOGITS, where=np.ones(3, bool))
    with pytest.raises(TypeError, match="'where' must be boolean"):
        router(LOGITS, where=np.ones((3, 5), np.float32))


# Mixtures of experts.

FEATURES = 6
TOKENS = np.random.default_rng(2).normal(size=(4, 10, FEATURES)).astype(np.float32)
KERNELS = np.random.default_rng(3).normal(size=(EXPERTS, FEATURES, 3)).astype(np.float32)


def a_router(**options):
    return snn.SigmoidRouter(FEATURES, EXPERTS, experts_per_token=2, rngs=nnx.Rngs(1), **options)


def mixture(routing, tokens, kernels, first=0):
    plan = snn.dispatch(routing.experts - first, kernels.shape[0])
    rows = lax.ragged_dot(plan.gather(tokens), kernels, plan.group_sizes)
    return plan.combine(rows, routing.weights)


def careless_dot(rows, kernels, sizes):
    """A product that leaves NaN where there is no group, forward and in reverse."""

    @jax.custom_vjp
    def product(rows):
        return spoiled(lax.ragged_dot(rows, kernels, sizes))

    def spoiled(made):
        grouped = jnp.arange(made.shape[0])[:, None] < sizes.sum()
        return jnp.where(grouped, made, jnp.nan)

    def reverse(rows, cotangent):
        (slope,) = jax.vjp(lambda rows: lax.ragged_dot(rows, kernels, sizes), rows)[1](cotangent)
        return (spoiled(slope),)

    product.defvjp(lambda rows: (product(rows), rows), reverse)
    return product(rows)


def every_expert(routing, tokens, kernels):
    """The same, of all experts, with weights of 0 for those that a token was not sent to."""
    shares = jax.nn.one_hot(routing.experts, kernels.shape[0]) * routing.weights[..., None]
    return jnp.einsum("...ke,...i,eio->...o", shares, tokens, kernels)


def test_dispatch_sorts_by_expert_and_leaves_strangers_behind():
    experts = np.random.default_rng(4).integers(-2, 6, size=(3, 5, 2)).astype(np.int32)
    tokens = np.random.default_rng(5).normal(size=(3, 5, 7)).astype(np.float32)
    weights = np.random.default_rng(6).normal(size=(3, 5, 2)).astype(np.float32)

    @jax.jit
    def there_and_back(experts, tokens, weights):
        plan = snn.dispatch(experts, 4)
        rows = plan.gather(tokens)
        is_ours = jnp.arange(30)[:, None] < jnp.sum(plan.group_sizes)
        return plan, rows, plan.combine(jnp.where(is_ours, rows, jnp.nan), weights)

    plan, rows, found = there_and_back(experts, tokens, weights)
    flat = experts.ravel()
    order = sorted(range(30), key=lambda i: (flat[i] if 0 <= flat[i] < 4 else 4, i))
    np.testing.assert_array_equal(plan.order, order)
    np.testing.assert_array_equal(plan.group_sizes, [(flat == e).sum() for e in range(4)])
    np.testing.assert_array_equal(np.asarray(plan.places).ravel()[order], range(30))
    ours = np.arange(30)[:, None] < plan.group_sizes.sum()
    in_order = tokens.reshape(15, 7)[np.array(order) // 2]
    np.testing.assert_array_equal(rows, np.where(ours, in_order, 0))
    of_ours = np.where((experts >= 0) & (experts < 4), weights, 0).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, tokens * of_ours, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("capacity_factor", [pytest.param(None, marks=pytest.mark.proof), 1.0])
def test_a_mixture_has_the_values_and_gradients_of_all_experts_masked(capacity_factor):
    router = a_router(capacity_factor=capacity_factor)
    graph, state = nnx.split(router)

    def of(layer):
        def total(state, tokens, kernels):
            y = layer(nnx.merge(graph, state)(tokens), tokens, kernels)
            return jnp.sum(jnp.sin(y)), y

        gradient = jax.value_and_grad(total, (0, 1, 2), has_aux=True, allow_int=True)
        return jax.jit(gradient)(state, TOKENS, KERNELS)

    for found, expected in zip(
        *map(jax.tree.leaves, map(of, (mixture, every_expert))), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_rows_of_no_group_do_not_count_whatever_a_product_makes_of_them():
    experts = np.arange(80, dtype=np.int32).reshape(4, 10, 2) % 11  # 8 to 10 are nobody
    weights = np.linspace(-1, 1, 80, dtype=np.float32).reshape(experts.shape)

    def of(product):
        def total(tokens, weights):
            plan = snn.dispatch(experts, EXPERTS)
            made = product(plan.gather(tokens), KERNELS, plan.group_sizes)
            return jnp.sum(jnp.sin(plan.combine(made, weights)))

        return jax.jit(jax.value_and_grad(total, (0, 1)))(TOKENS, weights)

    for found, expected in zip(
        *map(jax.tree.leaves, map(of, (careless_dot, lax.ragged_dot))), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_sixteen_bit_tokens_are_routed_and_combined_in_float32():
    tokens, kernels = jnp.asarray(TOKENS, jnp.bfloat16), jnp.asarray(KERNELS, jnp.bfloat16)
    router = a_router()

    @jax.jit
    def both(tokens, kernels):
        routing = router(tokens)
        wide = (x.astype(jnp.float32) for x in (tokens, kernels))
        return routing, mixture(routing, tokens, kernels), every_expert(routing, *wide)

    routing, found, expected = both(tokens, kernels)
    assert routing.weights.dtype == jnp.float32
    again = routed(router, tokens.astype(jnp.float32))
    np.testing.assert_array_equal(routing.experts, again.experts)
    assert found.dtype == jnp.bfloat16
    error = np.linalg.norm(np.float32(found) - expected) / np.linalg.norm(expected)
    assert error < float(jnp.finfo(jnp.bfloat16).eps)


def test_under_vmap_each_part_is_a_call_of_its_own():
    """Rows, kernels and sizes are mapped over their first axis, which is all ragged_dot can."""
    router = a_router(capacity_factor=1.0)
    every = jnp.stack([KERNELS * (1 + i) for i in range(4)])

    def layer(tokens, kernels):
        routing = router(tokens)
        return mixture(routing, tokens, kernels), routing

    def slopes(tokens, kernels):
        return jax.grad(lambda *a: jnp.sum(layer(*a)[0] ** 2), (0, 1))(tokens, kernels)

    together = jax.jit(lambda *a: (jax.vmap(layer)(*a), jax.vmap(slopes)(*a)))(TOKENS, every)
    one = jax.jit(lambda *a: (layer(*a), slopes(*a)))
    for i in range(4):
        alone = one(TOKENS[i], every[i])
        for found, expected in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
            np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [pytest.param((1, 4), marks=pytest.mark.proof), (2, 2)])
def test_experts_over_an_axis_of_a_mesh(shape):
    """Tokens over one axis, experts over the other; loads and outputs are the whole layer's."""
    router = a_router()
    graph, state = nnx.split(router)
    mesh = jax.make_mesh(shape, ("data", "expert"), axis_types=(AxisType.Auto,) * 2)

    def of_device(state, tokens, kernels):
        routing = nnx.merge(graph, state)(tokens)
        first = lax.axis_index("expert") * kernels.shape[0]
        y = lax.psum(mixture(routing, tokens, kernels, first), "expert")
        return y, lax.psum(routing.load, "data")

    sharded = jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(P(), P("data"), P("expert")),
        out_specs=(P("data"), P()),
    )

    def slopes(state, tokens, kernels):
        def total(state, tokens, kernels):
            y, load = sharded(state, tokens, kernels)
            return jnp.sum(jnp.sin(y)), (y, load)

        return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(state, tokens, kernels)

    def alone(state, tokens, kernels):
        def total(state, tokens, kernels):
            routing = nnx.merge(graph, state)(tokens)
            y = mixture(routing, tokens, kernels)
            return jnp.sum(jnp.sin(y)), (y, routing.load)

        return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(state, tokens, kernels)

    results = (jax.jit(f)(state, TOKENS, KERNELS) for f in (slopes, alone))
    for found, expected in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_routing_on_explicit_axes_is_sharded_as_the_tokens_are():
    router = a_router(num_groups=4, groups_per_token=2)
    expected = routed(router, TOKENS)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        tokens = jax.device_put(TOKENS, NamedSharding(mesh, P("data")))
        found = jax.jit(router)(tokens)
        slope = jax.jit(jax.grad(lambda x: jnp.sum(router(x).weights ** 2)))(tokens)
    assert found.experts.sharding.spec == found.weights.sharding.spec == P("data", None, None)
    assert slope.sharding.is_equivalent_to(tokens.sharding, slope.ndim)
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
