"""The digest of an experiment's code: what changes it, and what does not."""

import importlib
import sys

import pytest

from experiments.harness import code
from experiments.harness.code import Code, code_digest

EXPERIMENT = '''"""An experiment."""
import toybox
from . import _shared
from toybox.tools import second

def measure():
    """Measures."""
    return _shared.number(), toybox.lazy.x
'''


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Writes a package, with changes to some files, and gives the digest of its experiment."""
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "__init__.py": "",
        "theme/__init__.py": "",
        "theme/one.py": EXPERIMENT,
        "theme/other.py": "",
        "theme/_shared.py": "from ..tools import first\n\ndef number():\n    return first.ONE\n",
        "tools/__init__.py": "",
        "tools/first.py": "ONE = 1\n",
        "tools/second.py": "",
        "tools/third.py": "",
        "lazy.py": "x = 1\n",
    }

    def of(changes):
        for name, text in (files | changes).items():
            path = tmp_path / "toybox" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        importlib.invalidate_caches()
        for cached in (code_digest, code._tree, code._code):
            cached.cache_clear()
        return code_digest("toybox.theme.one")

    yield of
    sys.modules.pop("toybox", None)


def test_what_an_experiment_reaches_changes_its_digest(digest):
    found = {
        digest(changes)
        for changes in (
            {},
            {"theme/one.py": EXPERIMENT + "X = 1\n"},
            {"theme/__init__.py": "X = 1\n"},
            {"theme/_shared.py": "def number():\n    return 3\n"},
            {"tools/first.py": "ONE = 2\n"},
            {"tools/second.py": "TWO = 2\n"},
            {"lazy.py": "x = 2\n"},
        )
    }
    assert len(found) == 7


def test_words_and_what_it_does_not_reach_do_not(digest):
    longer = EXPERIMENT.replace("An experiment", "Another text").replace("Measures", "Counts")
    spaced = longer.replace("return ", "# why\n    return  ")
    found = {digest(c) for c in ({}, {"theme/one.py": spaced}, {"theme/other.py": "X = 1\n"})}
    assert len(found) == 1


def test_sigjax_is_followed_into_its_parts_and_no_further(digest):
    losses = digest({"theme/one.py": "import sigjax\n"})
    assert losses != digest({"theme/one.py": "import sigjax\nsigjax.nn\n"})


def test_differences_are_named():
    old = Code("a", "0.10", "0.12")
    assert old.differences(Code("b", "0.10", "0.13")) == "code a, today b, flax 0.12, today 0.13"
