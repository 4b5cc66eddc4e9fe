"""A module of the project, taken apart by its text: what it defines, imports and runs."""

import ast
import dataclasses
import functools
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

_NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Statements:
    """Some statements, without what decides no number, see `_Bare`."""

    def __init__(self, statements: Sequence[ast.stmt]):
        self._tree = ast.Module(list(statements), [])

    @functools.cached_property
    def text(self) -> str:
        """In one form, however the lines were broken."""
        return ast.unparse(self._tree)

    @functools.cached_property
    def mentions(self) -> list[list[str]]:
        """`a.b.c` as ["a", "b", "c"]; strings with a dot, which may name modules, themselves."""
        return list(_dotted(self._tree))


@dataclasses.dataclass(frozen=True)
class ModuleText:
    """What a module's text says of itself.

    Attributes:
      definitions: what binds a name, by the name.
      imports: by the name that is bound, the module it comes from and its name there, or None where
        it is that module itself.
      executed: what may have effects when the module is imported: all but imports, assignments of
        names and definitions; and definitions with a decorator of the module, which may keep them.
    """

    definitions: dict[str, Statements]
    imports: dict[str, tuple[str, str | None]]
    executed: Statements

    @property
    def passed_on(self) -> set[str]:
        """What is imported and not used."""
        code = (*self.definitions.values(), self.executed)
        used = {names[0] for statements in code for names in statements.mentions}
        return set(self.imports) - used


@functools.cache
def read(module: str) -> ModuleText | None:
    """A module's text, taken apart; None if there is no module of Python text of that name."""
    path = _file(module)
    if path is None:
        return None
    tree: ast.Module = _Bare().visit(ast.parse(path.read_text("utf-8")))
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    bound = [_bound(node) for node in tree.body]
    ours = set().union(*bound)
    definitions: dict[str, list[ast.stmt]] = {name: [] for name in ours}
    executed = []
    for node, names in zip(tree.body, bound, strict=True):
        decorators = [names for names in _decorators(node) if names[0] in ours]
        # A rule that is handed to a function, as by `@function.defjvp`, belongs to that function.
        for name in names | {first for first, *rest in decorators if rest}:
            definitions[name].append(node)
        # A loop, or a call, may fill a table, and so may a decorator.
        plain = isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | _NAMED) and names
        keeps = any(not rest for _, *rest in decorators)
        if (keeps or not plain) and not isinstance(node, ast.Import | ast.ImportFrom):
            executed.append(node)
    return ModuleText(
        definitions={name: Statements(nodes) for name, nodes in definitions.items()},
        imports=_imports(tree, module, package),
        executed=Statements(executed),
    )


def _imports(
    tree: ast.Module, module: str, package: list[str]
) -> dict[str, tuple[str, str | None]]:
    """What a module imports, also in its functions."""
    imports: dict[str, tuple[str, str | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                imports[alias.asname or whole] = (whole, None)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # What a package imports from itself is a module in it.
                part = (f"{source}.{alias.name}", None) if source == module else None
                imports[alias.asname or alias.name] = part or (source, alias.name)
    return imports


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a module binds, imports apart."""
    if isinstance(node, _NAMED):
        return {node.name}
    return {
        inner.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    }


def _decorators(node: ast.stmt) -> list[list[str]]:
    """What the decorators of a definition name."""
    listed = node.decorator_list if isinstance(node, _NAMED) else []
    return [names for decorator in listed for names in _dotted(decorator)]


def _dotted(node: ast.AST) -> Iterator[list[str]]:
    names: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield [inner.id, *reversed(names)]
    elif isinstance(inner, ast.Constant) and isinstance(inner.value, str) and "." in inner.value:
        yield [inner.value]
    for child in ast.iter_child_nodes(inner):
        yield from _dotted(child)


class _Bare(ast.NodeTransformer):
    """Takes away what decides no number.

    That is annotations, strings that stand alone (docstrings, also those of fields), and what an
    error says: where one is raised there is no result. Its kind stays, by which it is caught.
    """

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.copy_location(ast.Pass(), node) if alone else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        node.cause = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.copy_location(ast.Constant(...), node)
        return self.generic_visit(node)


@functools.cache
def _root(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0]) if locations else None


def _file(module: str) -> Path | None:
    """The source of a module, if its package has one."""
    package, *parts = module.split(".")
    named = all(part.isidentifier() for part in (package, *parts))
    root = _root(package) if named else None
    if root is None:
        return None
    base = root.joinpath(*parts)
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def forget() -> None:
    """Reads every module anew when it is asked for next."""
    read.cache_clear()
    _root.cache_clear()
