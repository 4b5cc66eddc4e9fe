"""Which code made a result: a digest of the project's, and the versions of jax and Flax."""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Code(NamedTuple):
    """What besides configuration, seed and device decides a result's numbers.

    Attributes:
      digest: of the project's code, see `code_digest`.
      jax, flax: versions.
    """

    digest: str
    jax: str
    flax: str

    @classmethod
    def today(cls, module: str) -> "Code":
        """The code that would make a result of an experiment's module now."""
        version = importlib.metadata.version
        return cls(code_digest(module), version("jax"), version("flax"))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Code":
        """The code that made a recorded result."""
        versions = record["versions"]
        return cls(record["code"], versions["jax"], versions["flax"])

    def differences(self, today: "Code") -> str:
        """In words, what is not what it is today."""
        pairs = zip(("code", "jax", "flax"), self, today, strict=True)
        return ", ".join(f"{what} {old}, today {new}" for what, old, new in pairs if old != new)


@functools.cache
def code_digest(module: str) -> str:
    """Eight hexadecimal digits that change when the code of a result does.

    The digest is of the syntax trees of the experiment's module and of all that it imports of its
    own package, of `experiments` and of `sigjax`, directly or not. Comments, docstrings and the
    way lines are broken do not count.

    Args:
      module: the experiment's module, as in "experiments.depth.isometry".
    """
    roots = {name: _root(name) for name in (module.partition(".")[0], "experiments", "sigjax")}
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, roots)
        if path is None or name in found:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *_mentioned(name, path)]
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(f"{name}\n{_code(found[name])}\n".encode())
    return total.hexdigest()[:8]


def _root(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package!r}")
    return Path(spec.submodule_search_locations[0])


def _file(name: str, roots: dict[str, Path]) -> Path | None:
    """The source of a module, if it is one of the packages'."""
    package, *parts = name.split(".")
    if package not in roots:
        return None
    base = roots[package].joinpath(*parts)
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _mentioned(name: str, path: Path) -> Iterator[str]:
    """What may be the name of a module among what a module imports, or reaches by attributes.

    Packages load some of their parts when they are first used, as in `sigjax.nn`.
    """
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


@functools.cache
def _code(path: Path) -> str:
    """A module's code in one form, without its comments and docstrings."""
    return ast.unparse(_WithoutStrings().visit(ast.parse(path.read_text("utf-8"))))


class _WithoutStrings(ast.NodeTransformer):
    """Takes away strings that stand alone: docstrings, also those of fields."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.copy_location(ast.Pass(), node) if alone else node
