"""An RG-LRU and its gradient in NumPy's float64, one step after the other."""

import numpy as np


def logistic(x):
    return 1 / (1 + np.exp(-x))


def blockwise(x, gate):
    """`x [..., features]` times the blocks, plus the bias; the parts of the features stay apart."""
    blocks, width, _ = gate["kernel"].shape
    x = x.reshape(*x.shape[:-1], blocks, width)
    return (np.einsum("...hi,hij->...hj", x, gate["kernel"]) + gate["bias"]).reshape(
        *x.shape[:-2], blocks * width
    )


def gates(weights, x, starts=None):
    """r, i, log a, a, the multiplier; `x [time, batch, features]`, `starts [time, batch]`."""
    r = logistic(blockwise(x, weights["a_gate"]))
    i = logistic(blockwise(x, weights["input_gate"]))
    log_a = -8 * r * np.logaddexp(0, weights["a_param"])
    a, multiplier = np.exp(log_a), np.sqrt(-np.expm1(2 * log_a))
    if starts is not None:
        a = np.where(starts[..., None], 0, a)
        multiplier = np.where(starts[..., None], 1, multiplier)
    return r, i, log_a, a, multiplier


def states(weights, x, first, starts=None):
    """`[time, batch, features]`."""
    _, i, _, a, multiplier = gates(weights, x, starts)
    found, h = [], first
    for t in range(len(x)):
        h = a[t] * h + multiplier[t] * i[t] * x[t]
        found.append(h)
    return np.stack(found)


def gradients(weights, x, first, cotangent, starts=None):
    """Of the sum of the states times `cotangent`, by weights, inputs and first state."""
    r, i, log_a, a, multiplier = gates(weights, x, starts)
    h = states(weights, x, first, starts)
    before = np.concatenate([first[None], h[:-1]])
    of_h, behind = np.empty_like(h), np.zeros_like(first)
    for t in reversed(range(len(x))):
        of_h[t] = cotangent[t] + behind
        behind = a[t] * of_h[t]
    # a and the root by log a
    of_log_a = of_h * (a * before - np.exp(2 * log_a) / multiplier * i * x)
    if starts is not None:
        of_log_a = np.where(starts[..., None], 0, of_log_a)
    softplus, slope = np.logaddexp(0, weights["a_param"]), logistic(weights["a_param"])
    of_r, of_i = of_log_a * -8 * softplus, of_h * multiplier * x
    of_a_param = np.sum(of_log_a * -8 * r, (0, 1)) * slope
    of_x = of_h * multiplier * i
    found = {"a_param": of_a_param}
    for name, z in (("a_gate", of_r * r * (1 - r)), ("input_gate", of_i * i * (1 - i))):
        kernel = weights[name]["kernel"]
        blocks, width, _ = kernel.shape
        shape = (*x.shape[:-1], blocks, width)
        z = z.reshape(shape)
        found[name] = {
            "kernel": np.einsum("tbhi,tbhj->hij", x.reshape(shape), z),
            "bias": np.sum(z, (0, 1)),
        }
        of_x = of_x + np.einsum("tbhj,hij->tbhi", z, kernel).reshape(x.shape)
    return found, of_x, behind
