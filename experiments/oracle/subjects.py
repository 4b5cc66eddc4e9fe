"""The functions under test beside their peers, and their derivatives as a user takes them."""

import functools
import importlib.util
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import sigjax
from experiments.harness.settings import wrong_value

Function = Callable[[Array], Array]


_FUNCTIONS: tuple[Callable[..., Array], ...] = (
    *(sigjax.sigmoid, sigjax.log_sigmoid, sigjax.log1m_sigmoid, sigjax.softplus),
    *(sigjax.softplus_inverse, sigjax.silu, sigjax.logit, sigjax.log1mexp, sigjax.logitexp),
    *(sigjax.logit1mexp, sigjax.log_cosh, sigjax.cloglog, sigjax.cloglog_inverse),
    *(sigjax.tanh_from_sigmoid, sigjax.sigmoid_linear, sigjax.hard_sigmoid),
)
FUNCTIONS = {function.__name__: function for function in _FUNCTIONS}


def _of_label(loss: Callable[..., Array], label: int, **parameters: float) -> Function:
    """A loss as a function of the logit."""
    return lambda x: loss(x, jnp.asarray(label, x.dtype), **parameters)


LOSSES: dict[str, Function] = {
    "cross_entropy_of_1": _of_label(sigjax.losses.sigmoid_binary_cross_entropy, 1),
    "cross_entropy_of_0": _of_label(sigjax.losses.sigmoid_binary_cross_entropy, 0),
    "focal_of_1": _of_label(sigjax.losses.sigmoid_focal_loss, 1, gamma=2.0),
}

LIBRARIES = ("sigjax", "sigjax faithful", "jax", "torch")

JAX_PEERS: dict[str, Function] = {
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "logit": jax.scipy.special.logit,
    "log1mexp": jax.nn.log1mexp,
    "tanh_from_sigmoid": jnp.tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    # jax has no losses; those of optax are made of its functions.
    "cross_entropy_of_1": _of_label(optax.losses.sigmoid_binary_cross_entropy, 1),
    "cross_entropy_of_0": _of_label(optax.losses.sigmoid_binary_cross_entropy, 0),
    "focal_of_1": _of_label(optax.losses.sigmoid_focal_loss, 1, gamma=2.0),
}

TORCH_PEERS = {
    "sigmoid": "sigmoid",
    "log_sigmoid": "nn.functional.logsigmoid",
    "softplus": "nn.functional.softplus",
    "silu": "nn.functional.silu",
    "logit": "logit",
    "tanh_from_sigmoid": "tanh",
    "hard_sigmoid": "nn.functional.hardsigmoid",
}

# Straight lines, which have no argument `faithful`.
_LINES = ("sigmoid_linear", "hard_sigmoid")


def check_names(names: tuple[str, ...], known: Iterable[str], field: str = "functions") -> None:
    """Raises UsageError if a name that a field of a configuration holds is not known."""
    if not names or any(name not in known for name in names):
        raise wrong_value(field, f"some of {', '.join(known)}", names)


@functools.cache
def subject(library: str, name: str) -> Function | None:
    """Returns the function `name` of "sigjax", "sigjax faithful" or "jax", if there is one."""
    if library == "jax":
        return JAX_PEERS.get(name)
    if name in LOSSES:
        return LOSSES[name] if library == "sigjax" else None
    function = FUNCTIONS[name]
    if library == "sigjax":
        return function
    return None if name in _LINES else lambda x: function(x, faithful=True)


def derivative(function: Function, order: int) -> Function:
    """The `order`-th derivative, elementwise, by forward mode."""
    if order == 0:
        return function
    lower = derivative(function, order - 1)
    return lambda x: jax.jvp(lower, (x,), (jnp.ones_like(x),))[1]


def has(library: str, name: str, dtype: str) -> bool:
    """Whether `evaluate` can be asked."""
    if library == "torch":
        return name in TORCH_PEERS and importlib.util.find_spec("torch") is not None
    if library == "sigjax faithful" and dtype != "float32":
        return False  # the flag changes float32 alone
    return subject(library, name) is not None


def highest_order(library: str, name: str) -> int:
    """The order of the highest derivative that `evaluate` can be asked for, up to the second."""
    # torch 2.11: "derivative for aten::hardsigmoid_backward is not implemented".
    return 1 if (library, name) == ("torch", "hard_sigmoid") else 2


def evaluate(library: str, name: str, order: int, x: np.ndarray) -> np.ndarray:
    """Evaluates a derivative of a library's function in the dtype of `x`."""
    if library == "torch":
        return _evaluate_torch(TORCH_PEERS[name], order, x)
    function = subject(library, name)
    if function is None:
        raise ValueError(f"{library} has no {name}")
    return evaluate_function(function, order, x)


def evaluate_function(function: Function, order: int, x: np.ndarray) -> np.ndarray:
    """Evaluates a derivative of a function of jax's arrays in the dtype of `x`."""
    with jax.enable_x64(x.dtype == np.float64):
        return np.asarray(_compiled(function, order)(jnp.asarray(x)))


@functools.cache
def _compiled(function: Function, order: int) -> Function:
    return jax.jit(derivative(function, order))


def _evaluate_torch(path: str, order: int, x: np.ndarray) -> np.ndarray:
    import torch

    dtype = getattr(torch, x.dtype.name)
    exact = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
    argument = torch.from_numpy(exact).to(dtype).requires_grad_()
    result = functools.reduce(getattr, path.split("."), torch)(argument)
    for _ in range(order):
        if not result.requires_grad:  # a derivative that torch takes for a constant
            return np.zeros_like(x)
        (result,) = torch.autograd.grad(result.sum(), argument, create_graph=True)
    return result.detach().to(torch.float64).numpy().astype(x.dtype)
