"""Whether everything that a function can reach is what it was.

A traced program holds what the function read: values in cells and globals, defaults, contents of
containers, code of the functions that it calls. `Reach` walks through all of it once and makes one
expression of identities, such as `globals["scale"] is value`, that takes some 20 ns each. Where
something could change unseen it raises `Unknown`, and there is no such expression.
"""

import builtins
import dis
import enum
import functools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Taken to stay as they are, and to depend on nothing but their arguments.
_LIBRARIES = frozenset((
    "abc", "beartype", "builtins", "chex", "cmath", "collections", "dataclasses", "einops",
    "enum", "equinox", "flax", "functools", "itertools", "jax", "jaxlib", "jaxtyping", "math",
    "ml_dtypes", "numpy", "operator", "optax", "sigjax", "typing",
))  # fmt: skip
_STATEFUL = "numpy.random"
# They give the same result for the same arguments, whatever happens elsewhere.
_PURE_BUILTINS = frozenset((
    "abs", "all", "any", "bool", "bytes", "callable", "classmethod", "complex", "dict",
    "divmod", "enumerate", "filter", "float", "frozenset", "getattr", "hasattr", "int",
    "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min", "next", "object",
    "pow", "property", "range", "repr", "reversed", "round", "set", "slice", "sorted",
    "staticmethod", "str", "sum", "super", "tuple", "type", "zip", "Ellipsis", "False", "None",
    "NotImplemented", "True", "__debug__",
))  # fmt: skip
_CONSTANT_TYPES = frozenset(
    [
        *(type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes),
        *(object, range, slice, types.CodeType, types.GenericAlias, types.UnionType),
        *(types.MemberDescriptorType, types.GetSetDescriptorType),
        *(types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType),
        # JAX itself keeps the program of a compiled function, whatever that closes over.
        type(jax.jit(lambda x: x)),
    ]
)
_CONSTANT_CLASSES = (
    *(np.generic, np.dtype, np.ufunc, jnp.ufunc, jax.Device, jax.sharding.Sharding),
    *(jax.sharding.Mesh, jax.sharding.AbstractMesh, jax.sharding.PartitionSpec),
)
# What a class has by being one, and no method reads.
_OF_CLASSES = frozenset((
    "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__",
    "__annotate__", "__slots__", "__abstractmethods__", "_abc_impl", "__orig_bases__",
    "__parameters__", "__match_args__", "__hash__", "__firstlineno__", "__static_attributes__",
    "__dataclass_fields__", "__dataclass_params__",
    "_pytree__nodes", "_pytree__is_pytree",
))  # fmt: skip
# More than that would take longer to compare than to trace.
_MOST_OBJECTS = 2000
_MOST_BYTES = 2**20


class Unknown(Exception):
    """Something that can change unseen, or has effects."""


def is_constant(value: Any) -> bool:
    """Whether a value of its type never changes."""
    return type(value) in _CONSTANT_TYPES or isinstance(value, _CONSTANT_CLASSES)


class Reach:
    """What can be reached from a function and other objects.

    Args:
      root: the function. `check` keeps no reference to it: it is passed in at every call.
    """

    def __init__(self, root: Any):
        self._root = root
        self._seen: dict[int, Any] = {}
        self._held: dict[int, tuple[str, Any]] = {}  # what the check compares, and its names
        self._conditions: dict[str, None] = {}
        self._attributes: set[str] = set()
        self._modules: list[types.ModuleType] = []
        self._computes_names = False
        self.add(root)

    def check(self) -> Callable[[Any], bool]:
        """A function of the root that tells whether all is as it was when it was added."""
        self._add_attributes_of_modules()
        conditions = " and ".join(self._conditions) or "True"
        source = (
            f"def unchanged(root):\n try:\n  return {conditions}\n"
            " except (AttributeError, IndexError, KeyError, ValueError):\n  return False\n"
        )
        names: dict[str, Any] = dict(self._held.values())
        names["has_content"] = _has_content
        exec(source, names)
        return names["unchanged"]

    def add(self, value: Any) -> None:
        """Walks through a value and what it refers to."""
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if len(self._seen) > _MOST_OBJECTS:
            raise Unknown("too many objects")
        if is_constant(value) or _is_concrete(value):
            return
        match value:
            case types.FunctionType():
                self._add_function(value)
            case types.MethodType():
                self._add_all((value.__self__, value.__func__))
            case types.BuiltinFunctionType():
                self._add_builtin(value)
            case functools.partial():
                self._add_all((value.func, value.args, value.keywords))
            case staticmethod() | classmethod():
                self.add(value.__func__)
            case property():
                self._add_all((value.fget, value.fset, value.fdel))
            case types.ModuleType():
                self._add_module(value)
            case enum.Enum():
                self.add(type(value))
            case type():
                self._add_class(value)
            case tuple():
                self._add_all((type(value), *value))
            case np.ndarray():
                self._add_array(value)
            case list() | dict() if type(value) in (list, dict):
                self._add_content(value)
            case _ if _root_of(type(value).__module__) in ("jax", "optax"):
                self._add_content(getattr(value, "__dict__", None))
            case _:
                raise Unknown(type(value))

    def _add_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self.add(value)

    def _name(self, value: Any) -> str:
        if value is self._root:
            return "root"
        return self._held.setdefault(id(value), (f"v{len(self._held)}", value))[0]

    def _watch(self, condition: str, *values: Any) -> None:
        """Adds a condition on objects, which stand in braces in it."""
        self._conditions[condition.format(*map(self._name, values))] = None

    def _add_function(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError as error:
                raise Unknown("an empty cell") from error
            self._watch("{}.cell_contents is {}", cell, content)
            self.add(content)
        # A wrapper has the name of the module of what it wraps, so its globals are asked.
        if _is_library(function.__globals__.get("__name__")):
            return
        for name in ("__defaults__", "__kwdefaults__"):
            value = getattr(function, name)
            self._watch(f"{{}}.{name} is {{}}", function, value)
            self.add(value)
        self._watch("{}.__code__ is {}", function, function.__code__)
        attributes = vars(function)
        if set(attributes) - {"__wrapped__"}:
            self._add_content(attributes)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self._add_code(
            function.__code__,
            function,
            {name: cell.cell_contents for name, cell in cells},
        )

    def _add_code(
        self, code: types.CodeType, function: types.FunctionType, outside: Mapping[str, Any]
    ) -> None:
        """Walks through what code reads; `outside` has what its closure holds."""
        before: Any = None  # what was loaded last, if that is known
        for step in dis.get_instructions(code):
            operation, name = step.opname, step.argval
            if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
                self._add_global(name, function)
            elif operation in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"):
                self._attributes.add(name)
                if name == "random" and (
                    before is np or (before is None and _imports_numpy(function.__code__))
                ):
                    raise Unknown("numpy.random")
            elif operation in ("STORE_GLOBAL", "DELETE_GLOBAL") or (
                operation in ("STORE_DEREF", "DELETE_DEREF") and name in outside
            ):
                raise Unknown(f"an assignment to {name}")
            elif operation == "IMPORT_NAME" and not _is_library(name):
                raise Unknown(f"an import of {name}")
            before = None
            if operation == "LOAD_GLOBAL":
                before = function.__globals__.get(name)
            elif operation == "LOAD_DEREF":
                before = outside.get(name)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._add_code(constant, function, outside)

    def _add_global(self, name: str, function: types.FunctionType) -> None:
        known = function.__globals__
        if name in known:
            self._watch(f"{{}}[{name!r}] is {{}}", known, known[name])
            self.add(known[name])
            return
        value = getattr(builtins, name, None)
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        if value is not None and name not in _PURE_BUILTINS and not is_error:
            raise Unknown(f"the builtin {name}")
        self._computes_names |= name in ("getattr", "hasattr")
        self._watch(f"{name!r} not in {{}}", known)

    def _add_builtin(self, function: types.BuiltinFunctionType) -> None:
        owner = function.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            pure = owner is builtins and function.__name__ in _PURE_BUILTINS
            if not pure and (owner is builtins or not _is_library(function.__module__)):
                raise Unknown(function)
        else:
            self.add(owner)

    def _add_module(self, module: types.ModuleType) -> None:
        if module.__name__.startswith(_STATEFUL):
            raise Unknown(module)
        if not _is_library(module.__name__):
            self._modules.append(module)

    def _add_attributes_of_modules(self) -> None:
        """Adds what the code may have read of modules, all attributes being known by now."""
        done: set[tuple[int, str]] = set()
        while True:
            read = [
                (module, name)
                for module in self._modules
                for name in sorted(self._attributes & set(vars(module)))
                if (id(module), name) not in done
            ]
            if not read:
                break
            for module, name in read:
                done.add((id(module), name))
                self._watch(f"{{}}[{name!r}] is {{}}", vars(module), vars(module)[name])
                self.add(vars(module)[name])
        if self._modules and self._computes_names:
            raise Unknown("attributes whose names are computed")

    def _add_class(self, kind: type) -> None:
        for base in kind.__mro__:
            if _is_library(base.__module__):
                continue
            if not _is_library(type(base).__module__):
                raise Unknown(type(base))
            content = vars(base)
            self._watch(f"len({{}}) == {len(content)}", content)
            for name, value in content.items():
                if name not in _OF_CLASSES:
                    self._watch(f"{{}}[{name!r}] is {{}}", content, value)
                    self.add(value)

    def _add_content(self, container: list[Any] | dict[Any, Any] | None) -> None:
        if container is None:
            raise Unknown("an object without a dictionary")
        self._watch(f"len({{}}) == {len(container)}", container)
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in pairs:
            if type(key) not in (str, int):
                raise Unknown("keys that are neither strings nor integers")
            self._watch(f"{{}}[{key!r}] is {{}}", container, value)
            self.add(value)

    def _add_array(self, array: np.ndarray) -> None:
        if type(array) is not np.ndarray or array.dtype.hasobject or array.nbytes > _MOST_BYTES:
            raise Unknown("an array")
        self._watch("has_content({}, {})", array, content_of(array))

    def add_tree(self, tree: Any) -> None:
        """Walks through the classes of a tree's nodes, whose methods may be called."""
        node = tree.node_data()
        if node is not None:
            kind, data = node
            self.add(kind)
            if kind not in (tuple, list, dict, type(None)):
                self.add(data)
        for child in tree.children():
            self.add_tree(child)


def _imports_numpy(code: types.CodeType) -> bool:
    """Whether code, or a function inside it, has an import of NumPy of its own."""
    imports = (step for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME")
    inside = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return any(_root_of(step.argval) == "numpy" for step in imports) or any(
        map(_imports_numpy, inside)
    )


def content_of(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()


def _has_content(array: np.ndarray, content: tuple[Any, ...]) -> bool:
    return content_of(array) == content


def _is_concrete(value: Any) -> bool:
    return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)


def _root_of(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _is_library(module: str | None) -> bool:
    return _root_of(module) in _LIBRARIES and not (module or "").startswith(_STATEFUL)
