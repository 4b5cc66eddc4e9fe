"""The functions of several arguments: definition, domain, and where two rounded numbers meet."""

from typing import Any

import mpmath as mp

import sigjax

from . import jets
from .partials import Joint, and_interval, descending, in_interval


def _logaddexp(a: Any, b: Any) -> Any:
    return a + jets.softplus(b - a) if a >= b else b + jets.softplus(a - b)


def _logsubexp(a: Any, b: Any) -> Any:
    return a + jets.log1mexp(a - b)


def _log_sigmoid_diff(a: Any, b: Any) -> Any:
    return jets.log1mexp(a - b) - (jets.softplus(-a) + jets.softplus(b))


def _soft_switch(x: Any, on: Any, off: Any) -> Any:
    return jets.sigmoid(x) * on + jets.sigmoid(-x) * off


def _bounded_logit(y: Any, low: Any, high: Any) -> Any:
    return jets.log(y - low) - jets.log(high - y)


def _log_det(x: Any, low: Any, high: Any) -> Any:
    return jets.log((high - low) / 4) - 2 * jets.log_cosh(x / 2)


def _larger_of_logsubexp(a: Any, b: Any) -> Any:
    return max(abs(a), abs(jets.log1mexp(a - b))) if a > b else abs(a)


def _larger_of_switch(x: Any, on: Any, off: Any) -> Any:
    return max(abs(jets.sigmoid(x) * on), abs(jets.sigmoid(-x) * off))


def _larger_of_log_det(x: Any, low: Any, high: Any) -> Any:
    return max(abs(mp.log(high - low)), abs(x), mp.log(4))


# Decimal digits of a truth: where an argument of a sum may be float64's smallest number, 308 digits
# cancel; in y - low and high - y, in a short interval of huge numbers, 600.
_SUM, _INTERVAL = 400, 700
JOINTS: dict[str, Joint] = {
    "logaddexp": Joint(
        sigjax.logaddexp, _logaddexp, terms={(0, 0): lambda a, b: abs(max(a, b))}, digits=_SUM
    ),
    "logsubexp": Joint(
        sigjax.logsubexp, _logsubexp, descending, terms={(0, 0): _larger_of_logsubexp}, digits=_SUM
    ),
    "log_sigmoid_diff": Joint(sigjax.log_sigmoid_diff, _log_sigmoid_diff, descending),
    "soft_switch": Joint(
        sigjax.soft_switch, _soft_switch, terms={(0, 0, 0): _larger_of_switch}, digits=_SUM
    ),
    "bounded_sigmoid": Joint(
        sigjax.bounded_sigmoid,
        lambda x, low, high: _soft_switch(x, high, low),
        and_interval,
        terms={(0, 0, 0): lambda x, low, high: _larger_of_switch(x, high, low)},
        digits=_SUM,
    ),
    "bounded_logit": Joint(sigjax.bounded_logit, _bounded_logit, in_interval, digits=_INTERVAL),
    "bounded_sigmoid_log_det": Joint(
        sigjax.bounded_sigmoid_log_det,
        _log_det,
        and_interval,
        terms={(0, 0, 0): _larger_of_log_det},
    ),
}
