"""Each claim that the page on the article names is one that an experiment makes."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from experiments.harness import experiment
from experiments.tools.gallery.record import read
from experiments.tools.gallery.stale import GALLERY, stale

PAGE = (GALLERY.parent / "article.md").read_text("utf-8")
NAMED = [
    (name, claim.replace("\\|", "|")) for name, claim in re.findall(r'`(\w+)`: "([^"]+)"', PAGE)
]
THEMES = {
    name: theme for theme, names in experiment.themes("experiments").items() for name in names
}

# So many characters of a claim's name must stand in the code; what an f-string puts in may be
# anything.
LEAST = 8


def patterns(name):
    """What the texts in the code of an experiment, and of what its theme shares, can become."""
    module = importlib.util.find_spec(f"experiments.{THEMES[name]}.{name}").origin
    for path in [Path(module), *Path(module).parent.glob("_[a-z]*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [
                part.value
                for part in parts
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            if len("".join(texts)) >= LEAST:
                yield "".join(
                    re.escape(part.value) if isinstance(part, ast.Constant) else ".+"
                    for part in parts
                )


@pytest.mark.parametrize("name", sorted({name for name, _ in NAMED}))
def test_every_claim_that_is_named_is_in_the_code_of_its_experiment(name):
    known = [re.compile(pattern) for pattern in patterns(name)]
    for claim in [claim for of, claim in NAMED if of == name]:
        spelled = (claim, claim.removeprefix("…: "))  # a name may be put together of two texts
        assert any(pattern.fullmatch(each) for pattern in known for each in spelled), claim


def test_every_claim_that_is_named_is_among_the_published_ones():
    old = {line.partition(":")[0] for line in stale()}
    for name, result in read(GALLERY).items():
        names = [claim.name for claim in result.claims]
        for claim in [claim for of, claim in NAMED if of == name and name not in old]:
            pattern = re.escape(claim).replace("…", ".+")
            assert any(re.fullmatch(pattern, each) for each in names), (name, claim)


def test_the_page_covers_what_the_article_is_about():
    assert len(NAMED) > 60
    assert {THEMES[name] for name, _ in NAMED} == set(experiment.themes("experiments"))
    assert PAGE.count("**wrong**") == 1
