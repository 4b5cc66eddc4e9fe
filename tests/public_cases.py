"""A call of every public name on healthy inputs: one more name is one more line of CASES."""

import contextlib
import dataclasses
import io
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

import sigjax
from sigjax import calibration, dynamics, initializers, losses, nn, probe, theory

X = np.array([-3.0, -0.25, 0.0, 2.0], np.float32)
Y = np.array([1.5, 0.5, 2.0, -1.0], np.float32)
P = np.array([0.05, 0.25, 0.5, 0.9], np.float32)
LABELS = np.array([0, 1, 0, 1])
WEIGHTS = np.array([1, 2, 0, 1], np.float32)
ROWS = np.stack([X, Y, P])
SQUARE = np.array([[1.0, 0.5], [-0.25, 0.75]], np.float32)
SEQUENCE = np.sin(np.arange(24, dtype=np.float32)).reshape(2, 4, 3)
IMAGE = SEQUENCE.reshape(1, 2, 4, 3)
SCORES = np.array([-2.0, 1.5, -0.5, 3.0, 0.25, -1.0], np.float32)
OUTCOMES = np.array([0, 1, 1, 1, 0, 0])


# Classes without a case: noted as cases return them, where results are no trees that show them;
# and what no call returns.
NOTED: set[type] = set()
WARNINGS = (sigjax.StabilizeWarning,)


def slopes(function: Callable[..., Any], *arguments: Any) -> Any:
    """A result and the gradients of the sum of its elements, by one program."""

    def total(*arguments: Any) -> tuple[jax.Array, Any]:
        found = function(*arguments)
        real = [x for x in jax.tree.leaves(found) if jnp.issubdtype(x.dtype, jnp.floating)]
        return sum(map(jnp.sum, real)), found

    everything = tuple(range(len(arguments)))
    return jax.jit(jax.grad(total, everything, has_aux=True))(*arguments)


def module(make: Callable[..., Any], inputs: np.ndarray, **options: Any) -> Any:
    """What a module gives, and the gradients of the mean of its squares, by one program."""

    def loss(model: nnx.Module, inputs: jax.Array) -> tuple[jax.Array, Any]:
        found = model(inputs, **options)
        return jnp.mean(jnp.square(jax.tree.leaves(found)[0])), found

    @jax.jit
    def run(inputs: jax.Array) -> Any:
        gradient = nnx.grad(loss, has_aux=True)
        gradients, found = gradient(make(rngs=nnx.Rngs(0)), inputs)
        return found, nnx.to_pure_dict(gradients)

    return run(inputs)


def steps(cell: Callable[..., Any], **options: Any) -> Any:
    return module(lambda rngs: nn.RNN(cell(rngs)), SEQUENCE, return_gates=True, **options)


def balanced() -> Any:
    router = nn.SigmoidRouter(4, 3, experts_per_token=1, rngs=nnx.Rngs(0))
    router.update_bias(router(ROWS).load)
    return nnx.to_pure_dict(nnx.state(router, nn.RouterBias))


def dispatched() -> Any:
    def mixture(x: jax.Array, weights: jax.Array) -> tuple[jax.Array, nn.Dispatch]:
        plan = nn.dispatch(OUTCOMES.reshape(3, 2) - 1, 1)
        return plan.combine(2 * plan.gather(x), weights), plan

    return slopes(mixture, ROWS, SCORES.reshape(3, 2))


def flip_flop() -> Any:
    @jax.jit
    def run(flop: dynamics.FlipFlop) -> Any:
        found = flop.equilibria()
        return [
            found, flop.stability(found.states[:1]), flop.nullclines(P), flop.window(),
            flop.folds(), flop.vector_field(0.0, ROWS[:, :2]),
        ]  # fmt: skip

    single = dynamics.FlipFlop(*np.array([3.0, 1.5, 0.0, 1.0], np.float32))
    return run(dynamics.FlipFlop(*np.array([6.0, 3.0, 0.1, 1.0], np.float32))), single.folds()


def sleep_wake() -> Any:
    @jax.jit
    def run(switch: dynamics.SleepWake, state: jax.Array) -> Any:
        return [
            switch.equilibria(np.float32(2)), switch.stability(state[:2]), switch.folds(),
            switch.awake(state), switch.vector_field(3.0, state), switch.firing_rate(state),
        ]  # fmt: skip

    state = np.array([-5.0, 1.0, 12.0], np.float32)
    return run(jax.tree.map(np.float32, dynamics.SleepWake()), state)


def joint() -> Any:
    @jax.jit
    def run(arm: dynamics.SigmoidJoint, state: jax.Array) -> Any:
        return [
            arm.equilibria(), arm.stability(), arm.natural_frequency(), arm.damping_ratio(),
            arm.critical_damping(), arm.overshoot(), arm.energy(state), arm.period(P),
            arm.vector_field(0.0, state),
        ]  # fmt: skip

    arm = dynamics.SigmoidJoint(*np.array([1.0, 0.4, 16.0, 1.0], np.float32))
    return run(arm, np.array([0.5, -1.0], np.float32))


def branch() -> Any:
    """Without what is rounding only."""
    start, parameter = np.array([1.5], np.float32), np.float32(-1.875)
    found = dynamics.continuation(
        lambda x, p: p - x + x**3, start, parameter, bounds=(-2.0, 2.0), step=0.2, max_points=4
    )
    known = dataclasses.replace(found, excess=None, tolerances=None)
    return known, found.folds(), found.branch_points()


def chain() -> nnx.Module:
    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(4, 3, rngs=rngs), nnx.sigmoid, nnx.Linear(3, 2, rngs=rngs))


def mean_of(net: nnx.Module, x: jax.Array) -> jax.Array:
    return jnp.mean(net(x))


def diagnosed() -> Any:
    """Of a network whose last kernel is zero, which is a finding."""
    net = chain()
    net.layers[2].kernel[...] *= 0
    report = probe.diagnose(net, mean_of, jnp.asarray(ROWS))
    NOTED.update(map(type, [report, *report.rows, *report.findings]))
    return report.loss, np.array([row.log10_gradient for row in report.rows], np.float32)


def evaluated() -> Any:
    evaluate = probe.value_and_grad(mean_of)
    loss, gradients, report = evaluate(chain(), jnp.asarray(ROWS))
    return loss, nnx.to_pure_dict(gradients), report.loss


def remembered() -> Any:
    """Two steps, as `scan` stacks them."""
    x = jnp.stack([jnp.asarray(ROWS)] * 2)
    reports = jax.vmap(lambda x: probe.diagnose(chain(), mean_of, x))(x)
    history = probe.History()
    history.extend(range(2), reports)
    return history.to_xarray()["log10_gradient"].values.astype(np.float32)


def diagnosed_linen() -> Any:
    net = linen.Sequential([linen.Dense(3), linen.tanh, linen.Dense(1)])
    net = net.bind(net.init(jax.random.key(0), ROWS))
    return probe.diagnose_linen(net, lambda net, x: jnp.mean(net(x)), jnp.asarray(ROWS)).loss


def tapped() -> Any:
    def loss(seen: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(probe.tap(x, seen) * 2)

    seen = jax.grad(loss)(jnp.zeros(probe.PROBE_SIZE, jnp.float32), jnp.asarray(X))
    return probe.read(seen)


def watched() -> Any:
    optimizer = optax.chain(probe.watch(every=2), optax.sgd(0.1))
    parameters = {"w": jnp.asarray(X), "b": jnp.asarray(Y)}
    state = optimizer.init(parameters)
    for _ in range(2):
        updates, state = optimizer.update(parameters, state, parameters)
    return updates, state[0]


def loaded() -> Any:
    cell = nn.MinGRU(3, 2, rngs=nnx.Rngs(0))
    weights = {
        f"{layer}.{name}": np.ones(shape, np.float32)
        for layer in ("dense_i",)
        for name, shape in (("kernel", (3, 4)), ("bias", (4,)))
    }
    nn.load_weights(cell, weights, layout="nnx")
    return nnx.to_pure_dict(nnx.state(cell, nnx.Param))


def initialized(initializer: Callable[..., Any], *shape: int) -> Any:
    return initializer(jax.random.key(0), shape, jnp.float32)


def rewritten() -> Any:
    return slopes(sigjax.stabilize(lambda x: -jnp.log(1 / (1 + jnp.exp(-x)))), X)


def cited() -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        sigjax.cite()
    return printed.getvalue()


def of_two(function: Callable[..., Any]) -> Any:
    return slopes(function, Y + 1, P - 1)


BINARY = losses.sigmoid_binary_cross_entropy
ECE = calibration.expected_calibration_error
PAIR = np.stack([1 - P, P], axis=1)
MEAN_FIELD = (jnp.tanh, np.float32(1.5), np.float32(0.3))

# One more public name is one more line. What follows ": " says only what is tried.
CASES: dict[str, Callable[[], Any]] = {
    **{
        name: lambda name=name: slopes(getattr(sigjax, name), X)
        for name in (
            "sigmoid", "log_sigmoid", "log1m_sigmoid", "softplus", "silu", "swish", "log_cosh",
            "tanh_from_sigmoid", "hard_sigmoid", "sigmoid_derivative", "sigmoid_linear",
            "sigmoid_linear_error", "cloglog_inverse",
        )
    },
    **{
        name: lambda name=name: slopes(getattr(sigjax, name), P)
        for name in ("logit", "cloglog", "softplus_inverse", "log1mexp")
    },
    **{
        name: lambda name=name: slopes(getattr(sigjax, name), -P)
        for name in ("logitexp", "logit1mexp")
    },
    "logaddexp": lambda: of_two(sigjax.logaddexp),
    "logsubexp": lambda: of_two(sigjax.logsubexp),
    "log_sigmoid_diff": lambda: of_two(sigjax.log_sigmoid_diff),
    "soft_switch": lambda: slopes(sigjax.soft_switch, X, Y, P),
    "bounded_sigmoid": lambda: slopes(sigjax.bounded_sigmoid, X, P - 1, P + 2),
    "bounded_logit": lambda: slopes(sigjax.bounded_logit, P, P - 1, P + 2),
    "bounded_logit: numbers": lambda: slopes(lambda y: sigjax.bounded_logit(y, 0.0, 1.0), P),
    "bounded_sigmoid_log_det": lambda: slopes(sigjax.bounded_sigmoid_log_det, X, P - 1, P + 2),
    "sigmoid: faithful": lambda: slopes(lambda x: sigjax.sigmoid(x, faithful=True), X),
    "sigmoid: bfloat16": lambda: slopes(sigjax.sigmoid, jnp.asarray(X, jnp.bfloat16)),
    "stabilize": rewritten,
    "cite": cited,
    "initializers.prior_bias": lambda: initialized(initializers.prior_bias(0.1), 4),
    "initializers.chrono": lambda: initialized(initializers.chrono(100), 4),
    "initializers.critical": lambda: initialized(initializers.critical(jnp.tanh, 0.1), 4, 3),
    "initializers.orthogonal_gain": lambda: initialized(
        initializers.orthogonal_gain(jnp.tanh, 0.1), 4, 3
    ),
    "losses.sigmoid_binary_cross_entropy": lambda: slopes(BINARY, X, P),
    "losses.sigmoid_binary_cross_entropy: options": lambda: slopes(
        lambda z, y, w: BINARY(
            z, y, pos_weight=w, label_smoothing=0.1, where=LABELS == 1, axis=-1
        ),
        X, P, P + 1,
    ),
    "losses.sigmoid_focal_loss": lambda: slopes(
        lambda z, y: losses.sigmoid_focal_loss(z, y, alpha=0.25, gamma=2.0), X, P
    ),
    "losses.squared_error_on_sigmoid": lambda: slopes(losses.squared_error_on_sigmoid, X, P),
    "losses.preference_loss": lambda: slopes(
        lambda a, b: losses.preference_loss(a, b, beta=0.5, label_smoothing=0.1), X, Y
    ),
    "losses.odds_ratio_preference_loss": lambda: slopes(
        losses.odds_ratio_preference_loss, -P, -P[::-1]
    ),
    "losses.sequence_log_prob": lambda: slopes(
        lambda z: losses.sequence_log_prob(z, LABELS, where=WEIGHTS > 0), IMAGE[0, 0]
    ),
    "losses.sigmoid_pairwise_loss": lambda: slopes(
        lambda x, y, t, b: losses.sigmoid_pairwise_loss(x, y, t, b, chunk_size=1),
        SQUARE, SQUARE.T, np.float32(2.0), np.float32(-1.0),
    ),
    "nn.MLP": lambda: module(lambda rngs: nn.MLP(4, 3, 2, depth=2, norm="layer", rngs=rngs), ROWS),
    "nn.SigmoidNeuron": lambda: module(
        lambda rngs: nn.SigmoidNeuron(4, prior=0.3, rngs=rngs), ROWS
    ),
    "nn.MultiLabelHead": lambda: module(
        lambda rngs: nn.MultiLabelHead(4, 3, prior=0.2, rngs=rngs), ROWS
    ),
    "nn.SoftSwitch": lambda: module(lambda rngs: nn.SoftSwitch(4, 2, rngs=rngs), ROWS),
    "nn.Highway": lambda: module(lambda rngs: nn.Highway(4, rngs=rngs), ROWS),
    "nn.SqueezeExcite": lambda: module(
        lambda rngs: nn.SqueezeExcite(3, reduction=1, rngs=rngs), IMAGE
    ),
    "nn.SigmoidRouter": lambda: module(
        lambda rngs: nn.SigmoidRouter(
            4, 6, experts_per_token=2, num_groups=3, groups_per_token=2, capacity_factor=1.0,
            rngs=rngs,
        ),
        ROWS, where=LABELS[:3] == 0, return_gates=True,
    ),
    "nn.RouterBias": balanced,
    "nn.update_router_bias": balanced,
    "nn.dispatch": dispatched,
    "nn.GRUCell": lambda: steps(lambda rngs: nn.GRUCell(3, 2, max_time=20, rngs=rngs)),
    "nn.LSTMCell": lambda: steps(
        # JAX's orthogonal matrices are others with float64 on.
        lambda rngs: nn.LSTMCell(
            3, 2, max_time=20, recurrent_kernel_init=nnx.initializers.lecun_normal(), rngs=rngs
        )
    ),
    "nn.MinGRU": lambda: steps(lambda rngs: nn.MinGRU(3, 2, max_time=20, rngs=rngs)),
    "nn.RGLRU": lambda: steps(lambda rngs: nn.RGLRU(3, num_heads=3, rngs=rngs)),
    "nn.RecurrentBlock": lambda: steps(
        lambda rngs: nn.RecurrentBlock(3, num_heads=2, lru_features=4, rngs=rngs)
    ),
    "nn.RNN": lambda: steps(
        lambda rngs: nn.GRUCell(3, 2, rngs=rngs), seq_lengths=np.array([2, 4]), return_carry=True
    ),
    "nn.Bidirectional": lambda: module(
        lambda rngs: nn.Bidirectional(
            *(nn.RNN(nn.MinGRU(3, 2, rngs=rngs)) for _ in range(2)), rngs=rngs
        ),
        SEQUENCE,
    ),
    "nn.dot_product_sigmoid_attention": lambda: slopes(
        lambda q, k, v: nn.dot_product_sigmoid_attention(q, k, v, is_causal=True), *[IMAGE] * 3
    ),
    "nn.SigmoidAttention": lambda: module(
        lambda rngs: nn.SigmoidAttention(3, 3, train_logit_bias=True, rngs=rngs), SEQUENCE,
        is_causal=True, return_gates=True,
    ),
    "nn.GatedAttention": lambda: module(
        # Softmax's weights do not depend on the keys' bias, whose gradient is rounding only.
        lambda rngs: nn.GatedAttention(
            3, 3, attention_fn=nn.dot_product_sigmoid_attention, opening=0.9, rngs=rngs
        ),
        SEQUENCE,
        is_causal=True, return_gates=True, return_attention=True,
    ),
    "nn.positive_candidate": lambda: slopes(nn.positive_candidate, X),
    "nn.load_weights": loaded,
    "calibration.fit_platt": lambda: calibration.fit_platt(SCORES, OUTCOMES),
    "calibration.fit_platt: weights": lambda: calibration.fit_platt(
        P, LABELS, weights=WEIGHTS, smooth=False
    ),
    "calibration.fit_platt: calls": lambda: calibration.fit_platt(SCORES, OUTCOMES)(X),
    "calibration.fit_temperature": lambda: calibration.fit_temperature(SCORES, OUTCOMES),
    "calibration.fit_temperature: classes": lambda: calibration.fit_temperature(
        PAIR, LABELS, weights=WEIGHTS
    )(PAIR),
    "calibration.reliability_curve": lambda: calibration.reliability_curve(P, LABELS, bins=2),
    "calibration.expected_calibration_error": lambda: slopes(lambda p: ECE(p, LABELS), P),
    "calibration.expected_calibration_error: classes": lambda: ECE(
        PAIR, LABELS, weights=WEIGHTS, classwise=True
    ),
    "calibration.expected_calibration_error: mass": lambda: ECE(
        PAIR, LABELS, weights=WEIGHTS, binning="mass"
    ),
    "dynamics.FlipFlop": flip_flop,
    "dynamics.SleepWake": sleep_wake,
    "dynamics.SigmoidJoint": joint,
    "dynamics.continuation": branch,
    "probe.diagnose": diagnosed,
    "probe.diagnose_linen": diagnosed_linen,
    "probe.value_and_grad": evaluated,
    "probe.History": remembered,
    "probe.tap": tapped,
    "probe.read": tapped,
    "probe.watch": watched,
    "probe.safe_norm": lambda: slopes(probe.safe_norm, X),
    "probe.normalized": lambda: probe.normalized(jnp.asarray(X)),
    "theory.mean_field": lambda: theory.mean_field(*MEAN_FIELD),
    "theory.mean_field: slopes": lambda: slopes(
        lambda w, b: theory.mean_field(jnp.tanh, w, b).q, *MEAN_FIELD[1:]
    ),
    "theory.critical_weight_std": lambda: theory.critical_weight_std(jnp.tanh, 0.1),
    "theory.critical_line": lambda: slopes(lambda q: theory.critical_line(jnp.tanh, q), P),
    "theory.gradient_profile": lambda: theory.gradient_profile(*MEAN_FIELD, depth=3),
    "theory.jacobian_moments": lambda: theory.jacobian_moments(jnp.tanh, 1.1, 0.5, depth=3),
    "theory.jacobian_density": lambda: theory.jacobian_density(
        jnp.tanh, 1.1, 0.5, np.array([0.5, 1.0], np.float32), depth=3
    ),
    "theory.sigmoid_gradient_bound": lambda: slopes(theory.sigmoid_gradient_bound, P),
    "theory.saxe_curve": lambda: slopes(theory.saxe_curve, X, Y, P / 10, P),
    "theory.saxe_half_time": lambda: slopes(theory.saxe_half_time, P, P / 10, P),
    "theory.gaussian_expectation": lambda: theory.gaussian_expectation(jnp.cosh, nodes=64),
    "theory.hermite_coefficients": lambda: theory.hermite_coefficients(jnp.tanh),
}  # fmt: skip


def public_names() -> dict[str, Any]:
    """Functions and classes, as `part.name`, or `name` of the package itself."""
    parts = {"": sigjax} | {
        part.__name__.removeprefix("sigjax.") + ".": part
        for part in (losses, initializers, nn, theory, probe, calibration, dynamics)
    }
    return {
        prefix + name: value
        for prefix, part in parts.items()
        for name in getattr(part, "__all__", [n for n in vars(part) if not n.startswith("_")])
        if callable(value := getattr(part, name)) and value.__module__.startswith("sigjax")
    }
