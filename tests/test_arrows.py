"""Who may import whom, and what `import sigjax` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from experiments.harness import experiment

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sigjax"
# What each part may import of the others; a part that is not here may import nothing.
ALLOWED = {
    "": {"functional", "losses", "initializers", "nn", "theory", "probe", "_stabilize"}
    | {"calibration", "dynamics", "_cite"},
    "losses": {"functional"},
    "_cite": {"functional"},
    "initializers": {"functional", "theory"},
    "nn": {"functional", "initializers"},
    "theory": {"functional"},
    "calibration": {"functional"},
    "dynamics": {"functional"},
    "_stabilize": {"functional", "_jaxpr", "_reach"},
    "probe": {"functional", "_jaxpr", "_reach"},
}
# What a report or a history is turned into on request is imported where that is done.
ON_REQUEST = {
    "sigjax/probe/_figure.py": {"matplotlib"},
    "sigjax/probe/_views.py": {"xarray"},
    "sigjax/probe/_history.py": {"xarray"},
}
OPTIONAL = ("matplotlib", "xarray", "tyro", "sklearn", "diffrax", "optimistix", "tqdm", "torch")


def part_of(path):
    relative = path.relative_to(PACKAGE)
    return "" if relative == Path("__init__.py") else relative.parts[0].removesuffix(".py")


def imported(path):
    """Absolute names of the modules that a file imports, wherever in the file."""
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_follow_the_arrows(path):
    part = part_of(path)
    for module in imported(path):
        assert not module.startswith("experiments")
        library = module.split(".")[0]
        allowed = ON_REQUEST.get(str(path.relative_to(ROOT)), set())
        assert library not in OPTIONAL or library in allowed
        if module.startswith("sigjax."):
            target = module.split(".")[1]
            inside = {p.stem for p in PACKAGE.iterdir()}
            if target in inside and target != part:
                assert target in ALLOWED.get(part, set()), f"{part} imports {target}"
        if part == "probe":
            assert module.split(".")[0] not in ("optax", "scipy")


EXPERIMENTS = ROOT / "experiments"
# What each folder of experiments may import of the others.
SHARED = {
    "harness": set(),
    "datasets": {"harness"},
    "oracle": {"harness"},
    "tools": {"harness", *experiments.THEMES},
} | {theme: {"harness", "datasets", "oracle"} for theme in experiments.THEMES}


@pytest.mark.parametrize("folder", SHARED)
def test_themes_do_not_import_each_other(folder):
    for path in (EXPERIMENTS / folder).rglob("*.py"):
        targets = {m.split(".")[1] for m in imported(path) if m.startswith("experiments.")}
        assert targets <= SHARED[folder] | {folder}, path


def test_every_public_file_of_a_theme_is_an_experiment():
    for theme, members in experiment.themes("experiments").items():
        files = {path.stem for path in (EXPERIMENTS / theme).glob("[a-z]*.py")}
        assert files == set(members)
        assert len(members) == len(set(members))


def test_sigmoid_arithmetic_is_written_in_functional_alone():
    for path in PACKAGE.rglob("*.py"):
        if part_of(path) != "functional":
            for module in imported(path):
                assert module not in ("jax.nn", "jax.nn.sigmoid", "jax.lax.logistic"), path


def test_importing_sigjax_imports_nothing_optional():
    script = f"import sys, sigjax; print([m for m in {OPTIONAL} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_importing_sigjax_computes_nothing_and_changes_no_setting():
    script = (
        "import jax; before = dict(jax.config.values); import sigjax; "
        "from jax._src import xla_bridge; "
        "assert not xla_bridge._backends, 'a backend was started'; "
        "assert before == dict(jax.config.values)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
