"""Which code of the project some functions of a module reach, found without running it."""

from collections.abc import Iterable, Iterator, Sequence

from .module_text import ModuleText, Statements, read

# What a result may depend on, besides the package that its experiment lies in.
_PACKAGES = ("experiments", "sigjax")


def code_of(module: str, names: Sequence[str]) -> Iterator[str]:
    """What functions, classes or constants of a module reach of the project, as text in one form.

    A definition reaches those that it names, by imports too and through packages that import a name
    to pass it on. What is executed when a module is imported, besides definitions, counts for
    everything that reaches the module. Docstrings, comments, annotations, the words of an error and
    the way lines are broken do not count: they decide no number. In doubt, such as of a module that
    is passed on as a value, all of it counts.

    Args:
      module: as in "experiments.depth.isometry".
      names: of the functions, classes and constants to begin with; those that the module lacks are
        passed over.
    """
    walk = _Walk((module.partition(".")[0], *_PACKAGES))
    for name in names:
        walk.reach(module, name)
    yield from walk.found()


class _Walk:
    """A search that goes on from each definition to those that it names."""

    def __init__(self, packages: Iterable[str]):
        self._packages = frozenset(packages)
        self._reached: dict[tuple[str, str], Statements] = {}
        self._executed: dict[str, Statements] = {}
        self._passed: set[str] = set()

    def found(self) -> Iterator[str]:
        """All that was reached, in an order that does not depend on the way."""
        for (module, name), code in sorted(self._reached.items(), key=lambda item: item[0]):
            yield f"{module}.{name}\n{code.text}\n"
        for module in sorted(self._executed):
            yield f"{module}\n{self._executed[module].text}\n"

    def reach(self, module: str, name: str) -> None:
        """A name of a module, wherever it is defined."""
        text = self._read(module)
        if text is None or (module, name) in self._reached:
            return
        self._execute(module, text)
        if name in text.definitions:
            self._reached[module, name] = text.definitions[name]
            self._follow(module, text, text.definitions[name])
        elif name in text.imports:
            self._of_import(*text.imports[name])
        else:
            self._reach_all(f"{module}.{name}")

    def _read(self, module: str) -> ModuleText | None:
        return read(module) if _package(module) in self._packages else None

    def _reach_all(self, module: str) -> None:
        """All of a module that is passed on as a value, or run by its name.

        What it imports and makes no use of it passes on.
        """
        text = self._read(module)
        if text is None or module in self._passed:
            return
        self._passed.add(module)
        self._execute(module, text)
        for name in (*text.definitions, *text.passed_on):
            self.reach(module, name)

    def _execute(self, module: str, text: ModuleText) -> None:
        """What runs when a module and the packages that it lies in are imported."""
        if module in self._executed:
            return
        self._executed[module] = text.executed
        self._follow(module, text, text.executed)
        package = module.rpartition(".")[0]
        parent = self._read(package)
        if parent is not None:
            self._execute(package, parent)

    def _follow(self, module: str, text: ModuleText, code: Statements) -> None:
        for first, *rest in code.mentions:
            if first in text.definitions:
                self.reach(module, first)
            elif first in text.imports:
                self._of_import(*text.imports[first], rest)
            elif not rest and "." in first:
                self._reach_all(first)

    def _of_import(self, target: str, name: str | None, rest: Sequence[str] = ()) -> None:
        """What is imported from a module, or what is named of it, as in `module.a.b`."""
        inner = target if name is None else f"{target}.{name}"
        if rest and self._read(inner) is not None:
            self._of_module(inner, rest)
        elif name is None:
            self._reach_all(target)
        else:
            self.reach(target, name)

    def _of_module(self, module: str, names: Sequence[str]) -> None:
        """`module.a.b`, where a may be imported there, or a module again."""
        text, (name, *rest) = self._read(module), names
        if text is None or name in text.definitions or not rest:
            self.reach(module, name)
            return
        self._execute(module, text)
        self._of_import(*text.imports.get(name, (f"{module}.{name}", None)), rest)


def _package(module: str) -> str:
    return module.partition(".")[0]
