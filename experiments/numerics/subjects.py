"""The functions under test beside their peers, and their derivatives as a user takes them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

import sigjax

Function = Callable[[Array], Array]

JAX_PEERS: dict[str, Function] = {
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "logit": jax.scipy.special.logit,
    "log1mexp": jax.nn.log1mexp,
    "tanh_from_sigmoid": jnp.tanh,
}


def subject(library: str, name: str) -> Function | None:
    """Returns the function `name` of "sigjax", "sigjax faithful" or "jax", if there is one."""
    if library == "jax":
        return JAX_PEERS.get(name)
    function = getattr(sigjax, name)
    if library == "sigjax":
        return function
    return lambda x: function(x, faithful=True)


def derivative(function: Function, order: int) -> Function:
    """The `order`-th derivative, elementwise, by forward mode."""
    if order == 0:
        return function
    lower = derivative(function, order - 1)
    return lambda x: jax.jvp(lower, (x,), (jnp.ones_like(x),))[1]
