"""The notebooks of the documentation run; reference and README name what there is."""

import functools
import importlib
import inspect
import re
import sys
from pathlib import Path

import jax
import matplotlib
import matplotlib.pyplot as plt
import pytest

import sigjax

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Of some five seconds and more; what they call has tests of its own.
LONG = (
    "calibration", "diagnose", "dynamics", "language_model", "meshes", "porting", "reproduce",
    "routing", "stabilize", "theory", "today", "watch",
)  # fmt: skip
NOTEBOOKS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.proof] * (path.stem in LONG))
    for path in sorted(DOCS.glob("*.md"))
    if "{code-cell}" in path.read_text("utf-8")
]


@pytest.mark.slow
@pytest.mark.sampled(4, 2)
@pytest.mark.parametrize("path", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(path):
    matplotlib.use("Agg")
    cells = re.findall(
        r"^```\{code-cell\}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {"__name__": "__main__"}
    for cell in cells:
        with jax.numpy_dtype_promotion("standard"):  # what its readers have
            exec(compile(cell, path.name, "exec"), names)
    plt.close("all")


def documented(part):
    """The names under the directives of a page of the reference."""
    text = (DOCS / "api" / f"{part}.md").read_text("utf-8")
    return re.findall(r"^\.\. auto(?:function|class|data):: (\w+)$", text, re.MULTILINE)


def exported(part):
    module = getattr(sigjax, part)
    names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    return {n for n in names if callable(getattr(module, n))}


PARTS = (
    "functional", "losses", "initializers", "nn", "theory", "probe", "calibration", "dynamics",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_the_reference_documents_what_is_exported_once(part):
    names = documented(part)
    assert len(names) == len(set(names))
    assert {n for n in names if callable(getattr(getattr(sigjax, part), n))} == exported(part)


@pytest.mark.parametrize("part", PARTS)
def test_the_page_of_names_has_what_is_exported(part):
    assert exported(part)
    assert exported(part) <= set(re.findall(r"`(\w+)", (DOCS / "names.md").read_text("utf-8")))


# What functions and methods return, which have the example.
RETURNED = {
    "nn": {
        "GRUGates", "LSTMGates", "MinGRUGates", "RGLRUGates",
        "Routing", "RouterLoad", "RouterBias", "Dispatch",
    },
    "theory": {"MeanField", "CriticalPoint", "GradientProfile", "JacobianMoments"},
    "probe": {"GradientReport", "Finding", "Row", "Statistics", "WatchState", "Scaled"},
    "calibration": {"PlattScaling", "TemperatureScaling", "ReliabilityCurve"},
    "dynamics": {"Equilibria", "Branch", "SpecialPoints"},
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_every_entry_of_the_reference_has_an_example(part):
    module = getattr(sigjax, part)
    without = {n for n in exported(part) if ">>>" not in (inspect.getdoc(getattr(module, n)) or "")}
    assert without == RETURNED.get(part, set())


def test_the_chooser_names_what_there_is():
    rows = [line.split("|") for line in (DOCS / "choose.md").read_text("utf-8").splitlines()]
    names = [name for row in rows[3:] if len(row) > 3 for name in re.findall(r"`([\w.]+)`", row[2])]
    assert len(names) > 50
    for name in names:
        assert callable(functools.reduce(getattr, name.split("."), sigjax))


def test_every_name_of_sigjax_itself_is_documented():
    functions = {n for n in vars(sigjax) if callable(getattr(sigjax, n)) and not n.startswith("_")}
    on_pages = {name for part in ("functional", "stabilize", "cite") for name in documented(part)}
    assert functions == on_pages


def test_every_page_is_in_a_table_of_contents():
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in DOCS.glob("**/*.md")} - {"index"}
    listed = set()
    for folder in ("", "gallery/"):
        text = (DOCS / folder / "index.md").read_text("utf-8")
        names = re.findall(r"^(?:\w+/)?\w+$", text, re.MULTILINE)
        listed |= {folder + name for name in names}
    assert {page for page in pages if not page.startswith("_build")} == listed


def test_links_between_pages_lead_somewhere():
    pages = [*DOCS.glob("*.md"), *(DOCS / "api").glob("*.md"), *(DOCS / "gallery").glob("*.md")]
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in target and re.search(r"\.\w+$", target)
    ]
    assert len(links) > 30
    assert [(p.name, target) for p, target in links if not (p.parent / target).exists()] == []


@pytest.fixture
def offline(monkeypatch):
    """The extension of Sphinx that keeps pages free of the network."""
    pytest.importorskip("sphinx", reason="make docs installs sphinx")
    monkeypatch.syspath_prepend(str(DOCS / "_extensions"))
    yield importlib.import_module("offline")
    sys.modules.pop("offline")


def test_a_formula_becomes_mathml_or_an_error(offline):
    fraction = offline.mathml(r"\frac12 x", display=False)
    assert "<mfrac><mn>1</mn><mn>2</mn></mfrac>" in fraction
    assert "<mtext>E</mtext>" in offline.mathml(r"\mathrm{E}\,z", display=False)
    assert offline.mathml(r"a \\ b", display=True).count("<mtr>") == 2
    for formula in (r"\sigmoid(x)", r"\frac{1}", "a^", r"\left( x", r"\begin{cases} a"):
        with pytest.raises(offline.CannotRender, match=re.escape(repr(formula))):
            offline.mathml(formula, display=False)


def test_what_a_page_loads_from_elsewhere_is_found(offline, tmp_path):
    (tmp_path / "page.html").write_text(
        '<a href="https://arxiv.org"></a><script src="https://cdn.example/x.js"></script>'
        '<link rel="stylesheet" href="_static/own.css"><img src="plot.png">',
        "utf-8",
    )
    (tmp_path / "own.css").write_text("@font-face {src: url(//fonts.example/a.woff2)}", "utf-8")
    assert list(offline.loaded_from_elsewhere(tmp_path)) == [
        "page.html loads https://cdn.example/x.js",
        "own.css loads //fonts.example/a.woff2",
    ]
