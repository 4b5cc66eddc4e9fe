"""The digest of an experiment's code: what changes it, and what does not."""

import importlib
import sys

import pytest

from experiments.harness import code, module_text, reached
from experiments.harness.code import SHOWS, Code, code_digest

EXPERIMENT = '''"""An experiment."""
import toybox
from . import _shared
from ._shared import judged
from toybox.tools import second as other

LIMIT: int = 1
TABLE = {}
for name in ("a", "b"):
    TABLE[name] = name

class Config:
    """Sizes."""
    size: int = 1

def measure(config: Config) -> float:
    """Measures."""
    run = ["python", "-m", "toybox.tools.program"]
    return _shared.number() + toybox.lazy.x + other.kept(TABLE) + LIMIT, run

def claims(dataset):
    return judged(dataset, _shared.BOUND)

def unused():
    return 1
'''
SHARED = """from ..tools import first

BOUND = 1

def number():
    return first.ONE

def judged(dataset, bound):
    return dataset > bound
"""


@pytest.fixture
def digests(tmp_path, monkeypatch):
    """Writes a package, with changes to some files; the digests of its experiment's two parts."""
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "__init__.py": "",
        "theme/__init__.py": "",
        "theme/one.py": EXPERIMENT,
        "theme/other.py": "",
        "theme/_shared.py": SHARED,
        "tools/__init__.py": "",
        "tools/first.py": "ONE = 1\n",
        "tools/second.py": "def kept(x):\n    return x\n\ndef left():\n    return 1\n",
        "tools/third.py": "",
        "tools/program.py": "def main():\n    return 1\n",
        "lazy.py": "x = 1\n",
    }

    def of(name="", old="", new=""):
        for place, text in files.items():
            path = tmp_path / "toybox" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            assert place != name or not old or old in text
            changed = text.replace(old, new) if old else text + new
            path.write_text(changed if place == name else text, "utf-8")
        importlib.invalidate_caches()
        code_digest.cache_clear()
        module_text.forget()
        return tuple(code_digest("toybox.theme.one", names) for names in (code.MEASURES, SHOWS))

    yield of
    sys.modules.pop("toybox", None)


@pytest.mark.parametrize(
    "change",
    [
        ("theme/one.py", "+ LIMIT", "- LIMIT"),
        ("theme/one.py", "LIMIT: int = 1", "LIMIT: int = 2"),
        ("theme/one.py", '("a", "b")', '("a",)'),
        ("theme/one.py", "", "TABLE['c'] = 1\n"),
        ("theme/one.py", "", "import atexit\n\natexit.register(print)\n"),
        ("theme/_shared.py", "return first.ONE", "return 3"),
        ("tools/first.py", "1", "2"),
        ("tools/second.py", "return x", "return 2 * x"),
        ("tools/program.py", "return 1", "return 2"),
        ("lazy.py", "1", "2"),
        ("__init__.py", "", "print()\n"),
    ],
    ids=str,
)
def test_what_decides_the_data_changes_their_digest(digests, change):
    assert digests(*change)[0] != digests()[0]


@pytest.mark.parametrize(
    "change",
    [
        ("theme/one.py", "An experiment", "Another text"),
        ("theme/one.py", "size: int = 1", "size: int = 2"),
        ("theme/one.py", "Measures", "Counts"),
        ("theme/one.py", "    return _shared", "    # why\n    return  _shared"),
        ("theme/one.py", "-> float", "-> complex"),
        ("theme/one.py", "unused():\n    return 1", "unused():\n    return 2"),
        ("theme/other.py", "", "X = 1\n"),
        ("tools/second.py", "return 1", "return 2"),
        ("tools/third.py", "", "X = 1\n"),
    ],
    ids=str,
)
def test_words_and_what_is_not_reached_change_nothing(digests, change):
    assert digests(*change) == digests()


@pytest.mark.parametrize(
    "change",
    [
        ("theme/_shared.py", "BOUND = 1", "BOUND = 2"),
        ("theme/_shared.py", "dataset > bound", "dataset < bound"),
        ("theme/one.py", "", "\ndef plot(dataset):\n    return 1\n"),
    ],
    ids=str,
)
def test_claims_and_figures_have_a_digest_of_their_own(digests, change):
    measured, shown = digests(*change)
    before = digests()
    assert measured == before[0]
    assert shown != before[1]


def test_sigjax_is_followed_by_whole_modules(digests):
    plain = digests("theme/one.py", "toybox.lazy.x", "sigjax.sigmoid(1)")
    assert plain != digests("theme/one.py", "toybox.lazy.x", "sigjax.nn.MLP")
    assert "sigjax.nn._mlp" in "".join(
        reached.code_of("experiments.gates.attention_gates", ("measure",))
    )


def test_progress_and_figures_do_not_count_among_the_experiments_of_the_project():
    for module in ("experiments.depth.isometry", "experiments.depth.scaling"):
        text = "".join(reached.code_of(module, code.MEASURES))
        assert "experiments.harness.over_devices" in text
        assert "experiments.harness.progress" not in text
        assert "_panels" not in text


def test_differences_are_named():
    old = Code("a", "0.10", "0.12")
    assert old.differences(Code("b", "0.10", "0.13")) == "code a, today b, flax 0.12, today 0.13"
