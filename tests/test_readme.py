"""What the README says is true."""

import collections
import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("optimized")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_it_is_short():
    assert README.count("\n") <= 150


def test_the_functions_print_what_the_comments_say():
    names = {}
    exec(BLOCKS[0].splitlines()[0], names)
    lines = re.findall(r"^print\((.*)\)  # (.*)$", BLOCKS[0], re.MULTILINE)
    assert len(lines) == 6
    for expression, printed in lines:
        assert str(eval(expression, names)) == printed


def test_the_probe_says_what_stands_below_it(capsys):
    exec(BLOCKS[1], {})
    said = re.search(re.escape(BLOCKS[1]) + r"```\n\n```\n(.*?)```", README, re.DOTALL)[1]
    assert capsys.readouterr().out.split() == said.split()


def test_the_gates_have_the_shape_that_is_printed(capsys):
    exec(BLOCKS[2], {})
    assert capsys.readouterr().out.strip() == BLOCKS[2].rpartition("# ")[2].strip()


def test_every_example_is_tested():
    assert len(BLOCKS) == 3


def test_it_counts_the_claims_that_are_published():
    verdicts = collections.Counter(
        claim["verdict"]
        for path in (ROOT / "docs" / "gallery").glob("*.json")
        for claim in json.loads(path.read_text("utf-8"))["claims"]
    )
    stated = re.search(r"<!-- gallery in brief -->\n(.*?)\.\n", README, re.DOTALL)[1]
    assert f"{verdicts['holds']} hold, {verdicts['fails']} fail" in stated


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    anchors = {re.sub(r"\W+", "-", h.lower()) for h in re.findall(r"^#+ (.*)$", README, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_commands_of_make_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.M) or target == "in", target
