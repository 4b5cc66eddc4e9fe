"""Where the first infinity or NaN arises."""

import math
from collections.abc import Iterator

from .._reading import Reading
from ._kinds import Finding, listed


def not_finite(reading: Reading) -> Iterator[Finding]:
    """The first place in the program's order, forwards before backwards."""
    if not reading.batch_is_finite:
        yield Finding(
            "not_finite",
            ("batch",),
            "The batch holds an infinity or NaN, and so does everything computed from it.",
            "Clean or mask the input.",
        )
        return
    for index, parameter in enumerate(reading.facts.parameters):
        if not reading.finite_values[index]:
            layer = parameter.owner or parameter.name
            yield Finding(
                "not_finite",
                (layer,),
                f"The parameter {parameter.name} holds an infinity or NaN, so an earlier step "
                "has destroyed it.",
                "Go back to the last checkpoint before it, and diagnose the step that follows.",
            )
            return
    finding = _forwards(reading) or _backwards(reading)
    if finding is not None:
        yield finding


def _forwards(reading: Reading) -> Finding | None:
    plan = reading.facts.plan
    for index, site in enumerate(plan.sites):
        if site.kind != "output" or reading.statistics(index).finite_signal.all():
            continue
        node = plan.graph.nodes[site.node]
        if node.between and node.before:
            places = [plan.graph.nodes[n].layer.path for n in node.before]
            return _made(places[-1], f"between {places[-1]} and {site.layers[0]}", node.between)
        if site.dtype == "float16":
            return Finding(
                "not_finite",
                (node.layer.path,),
                f"The output of {node.layer.path} is infinite or NaN in float16, whose largest "
                "number is 65504.",
                "Compute this layer in bfloat16 or float32, or make its input smaller.",
            )
        return _made(node.layer.path, f"in {node.layer.path}", node.own)
    if not math.isfinite(reading.loss) and plan.graph.nodes:
        last = [plan.graph.nodes[n].layer.path for n in plan.graph.last] or [
            plan.graph.nodes[-1].layer.path
        ]
        return _made(last[-1], f"between {last[-1]} and the loss", plan.graph.after)
    if not math.isfinite(reading.loss):
        return _made("loss", "in the loss", plan.graph.after)
    return None


def _made(layer: str, place: str, operations: tuple[str, ...]) -> Finding:
    what = f"; there it computes {listed(operations, 3)}" if operations else ""
    return Finding(
        "not_finite",
        (layer,),
        f"The first infinity or NaN arises {place}{what}.",
        "Keep the argument away from where that is undefined, for example by a small epsilon."
        if operations
        else "Look for an overflow there: large weights, a large input or learning rate.",
    )


def _backwards(reading: Reading) -> Finding | None:
    plan = reading.facts.plan
    for index in reversed(range(len(plan.sites))):
        site = plan.sites[index]
        if site.kind != "output" or reading.statistics(index).finite_gradient.all():
            continue
        path = site.layers[0]
        if site.dtype == "float16":
            return Finding(
                "not_finite",
                (path,),
                f"The gradient at the output of {path} is infinite or NaN in float16, the values "
                "are finite.",
                "Lower the loss scale, or compute in bfloat16.",
            )
        following = [node for node in plan.graph.nodes if site.node in node.before]
        words = [word for node in following for word in node.between]
        words += plan.graph.after if site.node in plan.graph.last else ()
        found = tuple(dict.fromkeys(words))
        what = f", where it computes {listed(found, 3)}" if found else ""
        return Finding(
            "not_finite",
            (path,),
            f"All values are finite, but the gradient is infinite or NaN behind {path}{what}: a "
            "slope is infinite, and what a `where` then hides is multiplied by 0, which is NaN.",
            "Mask the input of that operation, not its result: `f(where(ok, x, 1))`.",
        )
    for index, parameter in enumerate(reading.facts.parameters):
        if not reading.finite_gradients[index]:
            return Finding(
                "not_finite",
                (parameter.owner or parameter.name,),
                f"The gradient of {parameter.name} is infinite or NaN, the values are finite.",
                "Look for an operation on it with an infinite slope, such as a root or power at 0.",
            )
    return None
