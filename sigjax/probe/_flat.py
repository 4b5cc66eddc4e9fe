"""A traced program as one flat list of operations, whatever it is nested in.

Calls are entered, arguments and results of their bodies being the same values as outside. A loop's
body appears once: what it carries is joined from the first value and the body's own result. So
"does the loss depend on this" and "which operation comes next" are questions about one graph.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from .._jaxpr import CUSTOM_DERIVATIVE, bodies, open_jaxpr, scan_groups

# Where an operation is: its place in the program, and in each body around it.
Key = tuple[int, ...]
# A value of the flat program; a literal is none.
Value = int | None


@dataclasses.dataclass
class Operation:
    """One equation, or a joint of a loop or branch.

    Attributes:
      name: of the primitive; "join", "slice" or "stack" where a body begins or ends.
      inputs, outputs: values.
      key: where the equation is.
      eqn: the equation.
    """

    name: str
    inputs: list[Value]
    outputs: list[int]
    key: Key
    eqn: JaxprEqn


class Flat:
    """A flat program.

    Args:
      jaxpr: the program.
      parameters: how many of its first inputs are parameters of a model.

    Attributes:
      operations: in the program's order.
      inputs, outputs: values.
      avals: of each value.
      containers: the equations whose bodies stand in the list.
      entered, loops: those of them that are calls, and scans, as operations.
      joints: of each scan, one for each value that it carries; inputs are the first value and
        the body's result.
      makers, users: the operations that give and take each value.
    """

    def __init__(self, jaxpr: Any, parameters: int = 0):
        self.operations: list[Operation] = []
        self.avals: list[Any] = []
        self.entered: dict[Key, Operation] = {}
        self.containers: dict[Key, JaxprEqn] = {}
        self.loops: dict[Key, Operation] = {}
        self.joints: dict[Key, list[Operation]] = {}
        opened = open_jaxpr(jaxpr)
        self._of_constants = [self._new(v.aval) for v in opened.constvars]
        self.inputs = [self._new(v.aval) for v in opened.invars]
        self.outputs = self._enter(opened, self.inputs, self._of_constants, ())
        self.makers: dict[int, Operation] = {}
        self.users: list[list[Operation]] = [[] for _ in self.avals]
        for operation in self.operations:
            self.makers.update((value, operation) for value in operation.outputs)
            for value in operation.inputs:
                if value is not None:
                    self.users[value].append(operation)
        computed = self.reached_from([*self.inputs[parameters:], *self._of_constants])
        self._computed = computed
        self._trained = self.reached_from(self.inputs[:parameters])
        self._of_parameters = self._trained - computed

    def reached_from(
        self, values: Iterable[int], through: Collection[str] | None = None
    ) -> set[int]:
        """All values that depend on one of these, themselves included.

        Args:
          values: where to begin.
          through: if given, the names of the operations that are gone through.
        """

        def dependents(value: int) -> Iterator[Value]:
            for operation in self.users[value]:
                if through is None or operation.name in through:
                    yield from operation.outputs

        return _closure(values, dependents)

    def leading_to(
        self, values: Iterable[Value], through: Collection[str] | None = None
    ) -> set[int]:
        """All values that one of these depends on, themselves included.

        Args:
          values: where to begin.
          through: if given, the names of the operations that are gone through.
        """

        def dependencies(value: int) -> Sequence[Value]:
            maker = self.makers.get(value)
            if maker is None or (through is not None and maker.name not in through):
                return ()
            return maker.inputs

        return _closure(values, dependencies)

    def maker_through(self, value: Value, moves: frozenset[str]) -> Operation | None:
        """The operation that computed a value, behind those that only move it."""
        maker = self.makers.get(value) if value is not None else None
        while maker is not None and maker.name in moves and value is not None:
            value = maker.inputs[maker.outputs.index(value) if len(maker.outputs) > 1 else 0]
            maker = self.makers.get(value) if value is not None else None
        return maker

    def is_computed(self, value: int) -> bool:
        """Whether a value depends on an input that is no parameter or on the constants."""
        return value in self._computed

    def is_trained(self, value: Value) -> bool:
        """Whether a value depends on a parameter."""
        return value in self._trained

    def is_parameter(self, value: Value) -> bool:
        """Whether a value comes of parameters and of nothing else."""
        return value in self._of_parameters

    def parameters_of(self, key: Key, names: Sequence[str]) -> list[str]:
        """Names of the parameters that a loop is given as they are."""
        given = self.leading_to(v for v in self.loops[key].inputs if self.is_parameter(v))
        return [name for v, name in zip(self.inputs, names, strict=False) if v in given]

    def around(self, key: Key) -> list[JaxprEqn]:
        """The equations in whose bodies one stands, the outermost first."""
        keys = (key[:length] for length in range(1, len(key)))
        return [self.containers[one] for one in keys if one in self.containers]

    def outermost(self, key: Key, result: int) -> Key | None:
        """The equation that can be watched for a result: the one of this key, or, where that
        stands in a function with a derivative of its own, the call of it, if it gives the same."""
        for length in range(1, len(key)):
            call = self.entered.get(key[:length])
            if call is not None and call.name in CUSTOM_DERIVATIVE:
                return key[:length] if call.outputs[:1] == [result] else None
        return key

    def _new(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def _add(self, name: str, inputs: Sequence[Value], aval: Any, key: Key, eqn: JaxprEqn) -> int:
        output = self._new(aval)
        self.operations.append(Operation(name, list(inputs), [output], key, eqn))
        return output

    def _enter(
        self, jaxpr: Jaxpr, inputs: Sequence[Value], constants: Sequence[Value], key: Key
    ) -> list[Value]:
        known: dict[Var, Value] = dict(zip(jaxpr.constvars, constants, strict=True))
        known.update(zip(jaxpr.invars, inputs, strict=True))
        for index, eqn in enumerate(jaxpr.eqns):
            given = [None if isinstance(a, Literal) else known[a] for a in eqn.invars]
            known.update(zip(eqn.outvars, self._equation(eqn, given, (*key, index)), strict=True))
        return [None if isinstance(a, Literal) else known[a] for a in jaxpr.outvars]

    def _equation(self, eqn: JaxprEqn, given: list[Value], key: Key) -> list[Value]:
        inside, name = bodies(eqn), eqn.primitive.name
        if inside:
            self.containers[key] = eqn
        if name == "scan":
            return self._scan(eqn, given, key)
        if name == "while":
            return self._while(eqn, given, key)
        if name == "cond":
            return self._cond(eqn, given, key)
        if inside and len(inside) == 1 and len(inside[0].invars) == len(given):
            results = self._enter(inside[0], given, self._constants(inside[0]), key)
            known = [value for value in results if value is not None]
            self.entered[key] = Operation(name, given, known, key, eqn)
            return results
        outputs = [self._new(v.aval) for v in eqn.outvars]
        self.operations.append(Operation(name, given, outputs, key, eqn))
        return list(outputs)

    def _constants(self, jaxpr: Jaxpr) -> list[Value]:
        return [self._new(v.aval) for v in jaxpr.constvars]

    def _loop(
        self, eqn: JaxprEqn, carry: Sequence[Value], avals: Sequence[Any], key: Key
    ) -> list[Operation]:
        """A joint for each value that is carried, to which the body's result is added later."""
        for first, aval in zip(carry, avals, strict=True):
            self._add("join", [first], aval, key, eqn)
        return self.operations[len(self.operations) - len(carry) :]

    def _scan(self, eqn: JaxprEqn, given: list[Value], key: Key) -> list[Value]:
        body = open_jaxpr(eqn.params["jaxpr"])
        self.loops[key] = Operation("scan", given, [], key, eqn)
        consts, carry, xs = scan_groups(eqn, given)
        inner = [v.aval for v in body.invars]
        joints = self._loop(eqn, carry, inner[len(consts) : len(consts) + len(carry)], key)
        self.joints[key] = joints
        slices = [
            self._add("slice", [x], aval, key, eqn)
            for x, aval in zip(xs, inner[len(consts) + len(carry) :], strict=True)
        ]
        carried = [joint.outputs[0] for joint in joints]
        results = self._enter(body, [*consts, *carried, *slices], self._constants(body), (*key, 0))
        for joint, result in zip(joints, results[: len(carry)], strict=True):
            joint.inputs.append(result)
        stacked = [
            self._add("stack", [result], v.aval, key, eqn)
            for result, v in zip(results[len(carry) :], eqn.outvars[len(carry) :], strict=True)
        ]
        last = [
            self._add("join", [result, first], v.aval, key, eqn)
            for result, first, v in zip(results, carry, eqn.outvars, strict=False)
        ]
        return [*last, *stacked]

    def _while(self, eqn: JaxprEqn, given: list[Value], key: Key) -> list[Value]:
        test, body = (open_jaxpr(eqn.params[name]) for name in ("cond_jaxpr", "body_jaxpr"))
        first, second = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        of_test, of_body = given[:first], given[first : first + second]
        joints = self._loop(
            eqn, given[first + second :], [v.aval for v in body.invars[second:]], key
        )
        carried = [joint.outputs[0] for joint in joints]
        goes_on = self._enter(test, [*of_test, *carried], self._constants(test), (*key, 0))
        results = self._enter(body, [*of_body, *carried], self._constants(body), (*key, 1))
        for joint, result in zip(joints, results, strict=True):
            joint.inputs.append(result)
        return [
            self._add("join", [value, *goes_on], v.aval, key, eqn)
            for value, v in zip(carried, eqn.outvars, strict=True)
        ]

    def _cond(self, eqn: JaxprEqn, given: list[Value], key: Key) -> list[Value]:
        index, *operands = given
        results = []
        for position, branch in enumerate(eqn.params["branches"]):
            body = open_jaxpr(branch)
            results.append(self._enter(body, operands, self._constants(body), (*key, position)))
        return [
            self._add("join", [index, *values], v.aval, key, eqn)
            for *values, v in zip(*results, eqn.outvars, strict=True)
        ]


def _closure(start: Iterable[Value], following: Callable[[int], Iterable[Value]]) -> set[int]:
    """What is come to from some values, step by step, themselves included."""
    found = {value for value in start if value is not None}
    waiting = list(found)
    while waiting:
        for value in following(waiting.pop()):
            if value is not None and value not in found:
                found.add(value)
                waiting.append(value)
    return found
