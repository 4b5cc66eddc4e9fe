"""The digest of an experiment's code: what changes it, and what does not."""

import importlib
import sys

import jax
import pytest

from experiments.harness import code, module_text, reached
from experiments.harness.code import SHOWS, Code, code_digest
from experiments.probability import bce_pairing

EXPERIMENT = '''"""An experiment."""
import toybox
from . import _shared
from ._shared import judged
from toybox.tools import passed, second as other

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
    return passed.given(_shared.number()) + toybox.lazy.x + other.kept(TABLE) + LIMIT, run

def claims(dataset):
    return judged(dataset, _shared.BOUND)

def unused():
    return 1
'''
# A package that passes on a name of a module in it, and one of its modules.
PASSED = "from . import rest\nfrom .part import given\n"
SHARED = """from ..tools import first

BOUND = 1

def number():
    if not first.ONE:
        raise ValueError("is 0") from KeyError("BOUND")
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
        "tools/passed/__init__.py": PASSED,
        "tools/passed/part.py": "def given(x):\n    return x\n\ndef kept():\n    return 1\n",
        "tools/passed/rest.py": "x = 1\n",
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
        ("theme/_shared.py", "raise ValueError", "raise TypeError"),
        ("tools/first.py", "1", "2"),
        ("tools/second.py", "return x", "return 2 * x"),
        ("tools/program.py", "return 1", "return 2"),
        ("tools/passed/part.py", "return x", "return 2 * x"),
        ("tools/passed/part.py", "", "\n@given\ndef added():\n    return 1\n"),
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
        ("theme/one.py", "    return passed", "    # why\n    return  passed"),
        ("theme/one.py", "-> float", "-> complex"),
        ("theme/_shared.py", '"is 0") from KeyError', 'f"is {BOUND}") from TypeError'),
        ("theme/one.py", "unused():\n    return 1", "unused():\n    return 2"),
        ("theme/other.py", "", "X = 1\n"),
        ("tools/second.py", "return 1", "return 2"),
        ("tools/third.py", "", "X = 1\n"),
        ("tools/passed/part.py", "return 1", "return 2"),
        ("tools/passed/rest.py", "1", "2"),
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
        ("theme/one.py", "", "\ndef details(dataset):\n    return 1\n"),
    ],
    ids=str,
)
def test_claims_and_figures_have_a_digest_of_their_own(digests, change):
    measured, shown = digests(*change)
    before = digests()
    assert measured == before[0]
    assert shown != before[1]


def test_a_second_figure_changes_no_digest_of_those_without(digests):
    assert digests()[1] == code_digest("toybox.theme.one", ("claims", "plot", "table"))


def test_sigjax_is_followed_by_names_through_the_packages_that_pass_them_on():
    text = "".join(reached.code_of("experiments.probability.preferences", code.MEASURES))
    assert "sigjax.losses._odds_ratio._by_rejected\n" in text
    assert "sigjax.losses._tail.Tail\n" in text
    assert "sigjax.losses._focal" not in text
    assert "sigjax.nn" not in text


def test_of_sigjax_accuracy_counts_what_it_asks_for():
    text = "".join(reached.code_of("experiments.functions.accuracy", code.MEASURES))
    assert "sigjax.functional._logaddexp._subtract\n" in text
    assert "sigjax.initializers" not in text


@pytest.mark.parametrize("asked", ["getattr(tools.second, 'left')", "vars(tools.second)"])
def test_a_module_that_is_asked_for_names_at_run_time_counts_whole(digests, asked):
    calls = (
        "theme/one.py",
        "return passed",
        f"from toybox import tools\n    {asked}\n    return passed",
    )
    assert digests(*calls) != digests()
    digests(*calls)
    text = "".join(reached.code_of("toybox.theme.one", code.MEASURES))
    assert "toybox.tools.second.left\n" in text


def test_a_rule_counts_for_the_function_that_it_is_handed_to():
    text = "".join(reached.code_of("experiments.gates.recurrent_gates", code.MEASURES))
    assert "_recurrence.defjvp, symbolic_zeros=True" in text


def test_all_that_a_measurement_calls_is_reached():
    """What runs is seen by the interpreter; what is reached is read in the text."""
    text = "".join(reached.code_of(bce_pairing.__name__, code.MEASURES))
    config, called = bce_pairing.Config.quick(), set()

    def see(frame, event, argument):
        module = frame.f_globals.get("__name__", "")
        written = frame.f_code.co_filename.endswith(".py")  # not made by a dataclass
        if event == "call" and written and module.partition(".")[0] in ("experiments", "sigjax"):
            called.add(f"{module}.{frame.f_code.co_qualname.partition('.')[0]}\n")

    jax.clear_caches()
    sys.setprofile(see)
    try:
        bce_pairing.measure(config, jax.random.key(0))
    finally:
        sys.setprofile(None)
    assert len(called) > 20
    assert not {name for name in called if "<" not in name and name not in text}


def test_progress_and_figures_do_not_count_among_the_experiments_of_the_project():
    for module in ("experiments.depth.isometry", "experiments.depth.scaling"):
        text = "".join(reached.code_of(module, code.MEASURES))
        assert "experiments.harness.over_devices" in text
        assert "experiments.harness.progress" not in text
        assert "_panels" not in text


def test_differences_are_named():
    old = Code("a", "0.10", "0.12")
    assert old.differences(Code("b", "0.10", "0.13")) == "code a, today b, flax 0.12, today 0.13"
