"""One layer's map of the signal's length and of two signals' correlation, by plain quadrature.

With $z, z'$ standard normal, a layer of weights with variance $\\sigma_w^2 / n$ and biases with
variance $\\sigma_b^2$ maps the mean square $q$ of its inputs and the correlation $c$ of two
(Poole et al. 2016, arXiv:1606.05340, eqs 3 and 5):

$$q \\mapsto \\sigma_w^2\\, E[\\phi(\\sqrt{q} z)^2] + \\sigma_b^2, \\qquad
c \\mapsto \\frac{\\sigma_w^2\\, E[\\phi(\\sqrt{q^*} z)\\, \\phi(\\sqrt{q^*} (c z
+ \\sqrt{1 - c^2}\\, z'))] + \\sigma_b^2}{q^*}.$$
"""

from collections.abc import Callable

import numpy as np

# The trapezoidal rule over +-8 standard deviations, beyond which e-15 of the normal law is left,
# errs by less than a line's width in a figure: for tanh at q = 15 by 1e-9.
_NODES = np.linspace(-8, 8, 321)
_LAW = np.exp(-(_NODES**2) / 2)
_LAW /= _LAW.sum()

Activation = Callable[[np.ndarray], np.ndarray]


def variance_map(
    activation: Activation, weight_std: float, bias_std: float, q: np.ndarray
) -> np.ndarray:
    """The mean square of a layer's signal, from that of the layer below; q [n]."""
    squares = activation(np.sqrt(q)[:, None] * _NODES) ** 2
    return weight_std**2 * squares @ _LAW + bias_std**2


def correlation_map(
    activation: Activation, weight_std: float, bias_std: float, q: float, c: np.ndarray
) -> np.ndarray:
    """The correlation of two signals of the same mean square q above a layer; c [n] below it."""
    first = activation(np.sqrt(q) * _NODES) * _LAW
    found = []
    for one in c:
        mixed = one * _NODES[:, None] + np.sqrt(1 - one**2) * _NODES
        found.append(first @ activation(np.sqrt(q) * mixed) @ _LAW)
    return (weight_std**2 * np.array(found) + bias_std**2) / q
