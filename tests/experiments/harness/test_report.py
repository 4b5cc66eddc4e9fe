"""The page: valid, escaped, complete."""

import html.parser

import pytest

from experiments.harness.report import write_report
from experiments.harness.runner import Run, run


class Page(html.parser.HTMLParser):
    """Collects targets, text, and tags that are opened and not closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.targets, self.words, self.open, self.anchors = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.targets += [value for name, value in attrs if name in ("href", "src")]
        self.anchors += [f"#{value}" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


@pytest.fixture
def results(squares, tmp_path):
    def make(**fields):
        run(Run(squares, squares.Config(**fields), "quick", 0, tmp_path / "results"))
        return tmp_path / "results"

    return make


def test_links_lead_somewhere_and_text_is_escaped(results):
    path = write_report(results())
    page = Page(path.read_text("utf-8"))
    assert page.open == []
    assert len(page.targets) >= 5
    files = [target for target in page.targets if not target.startswith("#")]
    assert all((path.parent / target).exists() for target in files)
    assert set(page.targets) - set(files) == set(page.anchors)
    assert any(words.startswith("1 claims hold, 0 fail, 1 are reported") for words in page.words)
    assert "3 squared <b>" in page.words
    assert "school & home" in page.words
    assert "holds" in page.words
    assert "reported" in page.words


def test_a_failing_claim_is_shown_as_such(results):
    assert "fails" in Page(write_report(results(expected=8.0)).read_text("utf-8")).words


def test_the_newest_run_of_a_preset_is_shown(results, squares):
    results(expected=8.0)
    page = Page(write_report(results(expected=9.0)).read_text("utf-8"))
    assert "fails" in page.words or "holds" in page.words
    assert page.words.count("3 squared <b>") == 1


def test_a_page_without_runs(tmp_path):
    assert "No finished run was found." in Page(write_report(tmp_path).read_text("utf-8")).words


def test_claims_that_are_damaged_do_not_cost_the_page(results):
    (claims,) = results().glob("squares/*/claims.json")
    claims.write_text(claims.read_text("utf-8")[:20], "utf-8")
    page = Page(write_report(claims.parents[2]).read_text("utf-8"))
    assert any("claims.json is damaged or missing" in words for words in page.words)
