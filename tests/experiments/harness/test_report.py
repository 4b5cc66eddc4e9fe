"""The page: valid, escaped, complete, and what a reader does with it."""

import html.parser
import importlib
import json
import re
import shutil
import subprocess
import textwrap

import pytest

from experiments.harness import inline_svg as figures
from experiments.harness.papers import PAPERS, linked
from experiments.harness.report import write_report
from experiments.harness.runner import Run, run


class Page(html.parser.HTMLParser):
    """Collects targets, text, and tags that are opened and not closed."""

    VOID = ("meta", "img", "br", "input")

    def __init__(self, path):
        super().__init__()
        self.loaded, self.targets, self.words, self.open, self.ids = [], [], [], [], []
        self.tags = []
        self.feed(path.read_text("utf-8"))
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "a":
            self.targets.append(found["href"])
        elif tag in ("link", "script", "img", "iframe", "object"):
            self.loaded += [found[name] for name in ("href", "src", "data") if name in found]
        if "id" in found:
            self.ids.append(found["id"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())

    def having(self, name):
        """The attributes of the elements that have one of a name."""
        return [attributes for _, attributes in self.tags if name in attributes]


@pytest.fixture
def results(squares, tmp_path):
    def make(module=squares, preset="quick", **fields):
        run(Run(module, module.Config(**fields), preset, 0, tmp_path / "results"))
        return tmp_path / "results"

    return make


@pytest.fixture
def two_experiments(results, package, add_experiment):
    """Results of `squares`, which holds, and of `cubes`, which fails."""
    add_experiment("cubes", "")
    results()
    return results(importlib.import_module(f"{package}.numbers.cubes"), expected=8.0)


def test_links_lead_somewhere_and_text_is_escaped(results, package):
    path = write_report(results(), package)
    page = Page(path)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    inside = [target[1:] for target in page.targets if target.startswith("#")]
    assert {"squares", "experiments"} <= set(inside) <= set(page.ids)
    files = [target for target in page.targets if target[0] not in "#?"]
    assert len(files) == 7
    assert all((path.parent / target).is_file() for target in files + page.loaded)
    assert "1 hold 0 fail 0 are below their aim 1 are reported" in re.sub(r"\s+", " ", page.text)
    for text in ("3 squared <b>", "school & home", "holds", "reported", "count = 4; pause = 0.0"):
        assert text in page.text
    # Nothing comes from the network: besides the thumbnail nothing is loaded.
    assert page.loaded == [target for target in files if target.endswith(".png")]
    style = page.words[next(i for i, words in enumerate(page.words) if "color-scheme" in words)]
    assert "url(" not in style
    assert "@import" not in style


def test_a_figure_is_text_if_it_is_small_and_says_what_it_shows(
    results, package, tmp_path, monkeypatch
):
    page = Page(write_report(results(), package))
    (figure,) = [found for tag, found in page.tags if tag == "svg"]
    assert "3 squared <b>: 9 (= 9)" in figure["aria-label"]
    assert figure["role"] == "img"
    assert "Of its claims 1 holds, 0 fail" in figure["aria-label"]
    assert "0.0 1.0 4.0 9.0" in page.words  # its text
    (thumbnail,) = page.having("alt")
    assert thumbnail["alt"] == figure["aria-label"]
    monkeypatch.setattr(figures, "_LARGEST", 100)
    page = Page(write_report(tmp_path / "results", package))
    assert not [tag for tag, _ in page.tags if tag == "svg"]
    assert len(page.loaded) == 2
    assert all(found["alt"].startswith("A toy") for found in page.having("alt"))


def test_a_second_figure_has_a_heading_and_says_what_it_shows(
    results, detailed, package, monkeypatch
):
    folder = results(detailed)
    page = Page(write_report(folder, package))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.words.count("In detail") == 1
    assert page.words.index("0.0 1.0 4.0 9.0") < page.words.index("In detail")
    assert page.words.index("In detail") < page.words.index("the second figure")
    first, second = [found["aria-label"] for tag, found in page.tags if tag == "svg"]
    assert second == "A toy: squares of a few numbers. In detail: Their <roots>."
    assert first != second
    for kind in ("pdf", "svg", "png"):
        assert any(target.endswith(f"/details.{kind}") for target in page.targets)
    monkeypatch.setattr(figures, "_LARGEST", 100)
    pictures = [found for tag, found in Page(write_report(folder, package)).tags if tag == "img"]
    assert [found["alt"] for found in pictures] == [first, first, second]
    assert pictures[2]["src"].endswith("/details.png")
    # One without has no such heading.
    assert Page(write_report(results(), package)).words.count("In detail") == 1


def test_ids_of_figures_do_not_meet(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text(
        '<?xml version="1.0"?>\n<svg width="9pt" viewBox="0 0 9 9"><metadata>when</metadata>'
        '<path id="p"/><use xlink:href="#p" clip-path="url(#q)"/></svg>\n',
        "utf-8",
    )
    assert figures.inline_svg(path, "one", 'the "finding"').strip() == (
        '<svg viewBox="0 0 9 9" role="img" aria-label="the &quot;finding&quot;">'
        '<path id="one-p"/><use xlink:href="#one-p" clip-path="url(#one-q)"/></svg>'
    )


def test_what_fails_comes_first(two_experiments, package):
    page = Page(write_report(two_experiments, package))
    assert page.targets.index("#cubes-quick-claim-1") < page.targets.index("#squares")
    verdicts = {found["id"]: found["data-verdicts"] for found in page.having("data-verdicts")}
    assert verdicts == {"squares": "holds|reported", "cubes": "fails|reported"}
    assert {found["data-theme"] for found in page.having("data-theme")} == {"numbers"}
    assert [found["data-item"] for found in page.having("data-item")] == 2 * ["squares", "cubes"]


def test_a_number_below_its_aim_is_not_counted_as_holding(results, package):
    path = next(results().glob("squares/*/claims.json"))
    rows = json.loads(path.read_text("utf-8"))
    rows[1] |= {"expected": 2.0, "measured": 1.0, "relation": ">="}
    path.write_text(json.dumps(rows), "utf-8")
    text = re.sub(r"\s+", " ", Page(write_report(path.parents[2], package)).text)
    assert "1 hold 0 fail 1 are below their aim 0 are reported" in text
    assert "Which numbers are below their aim squares: not a number 1, aim: ≥ 2" in text


def test_the_most_thorough_preset_counts(results, package):
    results(expected=8.0)
    page = Page(write_report(results(preset="paper"), package))
    assert "1 hold 0 fail" in re.sub(r"\s+", " ", page.text)
    assert page.ids.index("squares-paper") < page.ids.index("squares-quick")
    assert "Also run at quick:" in page.text


def test_the_newest_run_of_a_preset_is_shown(results, package):
    results(expected=8.0)
    page = Page(write_report(results(expected=9.0), package))
    assert [found["id"] for found in page.having("data-verdict")] == [
        "squares-quick-claim-1",
        "squares-quick-claim-2",
    ]


def test_an_experiment_that_the_package_has_no_more_is_among_others(results):
    page = Page(write_report(results(), "experiments"))
    assert [found["data-theme"] for found in page.having("data-theme")] == ["others"]
    assert "Not run here: sigmoid_and_slope, linear_heart, accuracy," in page.text


def test_a_page_without_runs(tmp_path, package):
    page = Page(write_report(tmp_path, package))
    assert page.open == []
    assert "No finished run was found." in page.words


def test_what_is_damaged_does_not_cost_the_page(results, package):
    (claims,) = results().glob("squares/*/claims.json")
    claims.write_text(claims.read_text("utf-8")[:20], "utf-8")
    for name in ("figure.svg", "figure.png"):
        (claims.parent / name).unlink()
    page = Page(write_report(claims.parents[2], package))
    assert "claims.json is damaged or missing" in page.text
    assert "The figure is missing" in page.text


def test_papers_are_linked():
    source = "Pascanu et al. 2013, and (arXiv:1604.06174; doi:10.1109/18.256500)"
    assert list(linked(source)) == [
        ("Pascanu et al. 2013", "https://arxiv.org/abs/1211.5063"),
        (", and (", None),
        ("arXiv:1604.06174", "https://arxiv.org/abs/1604.06174"),
        ("; ", None),
        ("doi:10.1109/18.256500", "https://doi.org/10.1109/18.256500"),
        (")", None),
    ]
    assert list(linked("derived")) == [("derived", None)]
    for name, identifier in PAPERS.items():
        assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4}/[\w.-]+", identifier), name


# Reads the page in a frame of each width, since a browser's own window has a least one.
PROBE = """
<!DOCTYPE html>
<body>
<script>
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
async function look(width) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 800px`;
  frame.src = "index.html?q=cubes";
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; });
  const page = frame.contentDocument;
  const form = page.querySelector("#filters");
  const shown = () => [...page.querySelectorAll(".card")].filter((card) => !card.hidden)
    .map((card) => card.dataset.item);
  const choose = (name, value) => {
    form.reset();
    form[name].value = value;
    form[name].dispatchEvent(new Event("input", { bubbles: true }));
    return shown();
  };
  const found = {
    recalled: shown(),
    axis: choose("q", "16.0"),
    nothing: choose("q", "nothing like it"),
    groups: [...page.querySelectorAll("[data-group]")].filter((group) => !group.hidden).length,
    theme: choose("theme", "numbers"),
    fails: choose("verdict", "fails"),
    rows: [...page.querySelectorAll("#cubes tr[data-verdict]")].filter((row) => !row.hidden).length,
    told: form.querySelector("output").value,
    address: frame.contentWindow.location.search,
  };
  frame.contentWindow.location.hash = "#squares-quick-claim-1";
  await wait(50);
  const row = page.getElementById("squares-quick-claim-1");
  found.open = page.getElementById("squares").open && !row.closest("[hidden]");
  found.inSight = row.getBoundingClientRect().top < 800 && row.getBoundingClientRect().top >= 0;
  for (const part of page.querySelectorAll("details")) part.open = true;
  found.overflow = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  page.body.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
  found.focus = page.activeElement.name;
  return found;
}
(async () => {
  const found = [await look(390), await look(1280)];
  document.body.textContent = "";
  document.body.dataset.found = JSON.stringify(found);
})().catch((error) => { document.body.dataset.error = String(error); });
</script>
</body>
"""


def test_filters_links_and_widths_in_a_browser(two_experiments, package):
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next((path for path in map(shutil.which, names) if path), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    folder = two_experiments
    write_report(folder, package)
    (folder / "probe.html").write_text(textwrap.dedent(PROBE).lstrip(), "utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files")
    done = subprocess.run(
        [
            *(browser, *flags, f"--user-data-dir={folder.parent / 'browser'}"),
            *("--virtual-time-budget=10000", "--dump-dom", (folder / "probe.html").as_uri()),
        ],
        capture_output=True,
        encoding="utf-8",
    )
    assert "data-error" not in done.stdout, done.stdout[-500:]
    text = re.search(r'data-found="([^"]*)"', done.stdout)
    assert text is not None, done.stderr[-2000:]
    for found in json.loads(html.unescape(text[1])):
        assert found == {
            "recalled": ["cubes"],
            "axis": ["squares", "cubes"],
            "nothing": [],
            "groups": 0,
            "theme": ["squares", "cubes"],
            "fails": ["cubes"],
            "rows": 1,
            "told": "1 of 2 experiments",
            "address": "?verdict=fails",
            "open": True,
            "inSight": True,
            "overflow": 0,
            "focus": "q",
        }
