"""What is published: whole, within its limits, and known to be stale when the code has changed."""

import importlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from experiments.harness import experiment, module_text, storage
from experiments.harness.code import code_digest
from experiments.harness.command_line import main
from experiments.harness.usage import UsageError
from experiments.tools.gallery import publish_gallery
from experiments.tools.gallery.data import small_data
from experiments.tools.gallery.figure import small_png
from experiments.tools.gallery.pages import page, plain
from experiments.tools.gallery.record import damaged, read
from experiments.tools.gallery.stale import stale

FILES = {"index.md", "squares.json", "squares.md", "squares.nc", "squares.png", "squares.svg"}

KINDS = ("png", "nc", "svg")  # what a record lists: page and record themselves apart


@pytest.fixture
def run(package, tmp_path, capsys):
    """Runs a toy experiment at its paper's size; where its results are."""

    def run(*flags, name="squares"):
        results = tmp_path / "results"
        command = ["run", name, "--preset", "paper", "--results", str(results), *flags]
        assert main(command, package) == 0
        return results

    return run


def _published(results, tmp_path, package, **options):
    folder = tmp_path / "docs" / "gallery"
    return publish_gallery(results, folder, package, **options), folder


def test_a_finished_run_is_published_with_its_claims_data_and_page(run, package, tmp_path):
    said, folder = _published(run(), tmp_path, package)
    assert said[0].startswith("squares: published from ")
    assert {path.name for path in folder.iterdir()} == FILES
    record = json.loads((folder / "squares.json").read_text("utf-8"))
    wanted = {"preset", "digest", "commit", "seed", "device", "versions", "seconds", "claims"}
    assert record.keys() >= wanted
    assert record["digest"] == code_digest(f"{package}.numbers.squares")
    assert [claim["verdict"] for claim in record["claims"]] == ["holds", "reported"]
    data = storage.from_bytes((folder / "squares.nc").read_bytes())
    assert data["square"].sizes["number"] == 6
    page = (folder / "squares.md").read_text("utf-8")
    assert r"3 squared \<b\>" in page  # what a claim says is no markup
    assert "3 squared is 9" in page
    for name in ("squares.nc", "squares.json", "squares.svg"):
        assert f"]({name})" in page
    index = (folder / "index.md").read_text("utf-8")
    assert "[squares](squares.md)" in index
    assert "1 holds, 0 fail" in index
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    said, _ = _published(tmp_path / "results", tmp_path, package)
    assert said == ["squares: published before"]
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.usefixtures("detailed")
def test_a_second_figure_is_published_beside_the_first(run, package, tmp_path):
    run()
    results = run(name="detailed")
    _, folder = _published(results, tmp_path, package)
    second = {"detailed-details.png", "detailed-details.svg"}
    assert {path.name for path in folder.glob("*-details.*")} == second
    result = read(folder)["detailed"]
    assert result.record["files"].keys() == second | {f"detailed.{kind}" for kind in KINDS}
    page = (folder / "detailed.md").read_text("utf-8")
    told = r"![A toy: squares of a few numbers. In detail: Their \<roots\>.](detailed-details.png)"
    assert f"## In detail\n\n{told}\n" in page
    assert page.index("](detailed.png)") < page.index(told) < page.index("## Claims")
    assert "[details as SVG](detailed-details.svg)" in page
    assert "In detail" not in (folder / "squares.md").read_text("utf-8")
    assert read(folder)["squares"].record["files"].keys() == {f"squares.{kind}" for kind in KINDS}
    (folder / "detailed-details.png").unlink()
    (line,) = stale(folder, package)
    assert line == "detailed: detailed-details.png is not what was published with it"
    (picture,) = results.glob("detailed/*/details.png")
    picture.unlink()
    assert "has no details.png" in _published(results, tmp_path, package)[0][0]


def test_what_an_experiment_draws_no_more_is_removed(run, package, tmp_path):
    results = run()
    folder = tmp_path / "docs" / "gallery"
    folder.mkdir(parents=True)
    gone = [folder / "squares-details.png", folder / "squares-details.svg"]
    others = [folder / "squares-and-roots.png", folder / "cubes-details.png"]
    for path in gone + others:
        path.write_bytes(b"old")
    _published(results, tmp_path, package)
    assert {path.name for path in folder.iterdir()} == FILES | {path.name for path in others}


def test_a_page_is_made_anew_from_its_record(run, package, tmp_path):
    _, folder = _published(run(), tmp_path, package)
    before = (folder / "squares.md").read_text("utf-8")
    record = read(folder)["squares"].record
    assert f"Code `{record['digest']}` of commit" in before
    rekeyed = dict(record, digest="0123abcd")
    (folder / "squares.json").write_text(json.dumps(rekeyed), "utf-8")
    said, _ = _published(tmp_path / "no results", tmp_path, package)
    assert said == []
    after = (folder / "squares.md").read_text("utf-8")
    assert after == before.replace(record["digest"], "0123abcd")


def test_other_settings_than_the_papers_are_not_published(run, package, tmp_path):
    said, folder = _published(run("--count", "5"), tmp_path, package)
    assert "other settings" in said[0]
    assert {path.name for path in folder.iterdir()} == {"index.md"}
    assert "Not published yet, nor counted: `squares`" in (folder / "index.md").read_text("utf-8")


def test_a_run_that_does_not_say_its_code_or_lost_its_data_is_not_published(run, package, tmp_path):
    results = run()
    (path,) = results.glob("squares/*/provenance.json")
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({k: v for k, v in record.items() if k != "code"}), "utf-8")
    assert "does not say which code" in _published(results, tmp_path, package)[0][0]
    path.write_text(json.dumps(record), "utf-8")
    path.with_name("data.nc").write_bytes(b"CDF")
    assert "is not what the run recorded" in _published(results, tmp_path, package)[0][0]


def test_a_gallery_that_grows_too_large_is_refused_and_nothing_written(run, package, tmp_path):
    results = run()
    with pytest.raises(
        UsageError, match=r"would hold \d+ bytes, more than 1000; the largest file is"
    ):
        _published(results, tmp_path, package, limit=1000)
    assert not (tmp_path / "docs").exists()


def test_a_write_that_fails_leaves_a_gallery_that_is_known_to_be_unfinished(
    run, package, tmp_path, monkeypatch
):
    results, write = run(), storage.write_bytes

    def fails(path, content):
        if path.name == "squares.png" and path.exists():
            raise UsageError("the disk is full")
        write(path, content)

    _, folder = _published(results, tmp_path, package)
    assert damaged(folder, read(folder)["squares"]) == []
    (folder / "squares.png").write_bytes(b"half a pic")
    assert stale(folder, package) == ["squares: squares.png is not what was published with it"]
    monkeypatch.setattr(storage, "write_bytes", fails)
    with pytest.raises(UsageError, match="the disk is full"):
        _published(results, tmp_path, package)
    monkeypatch.undo()
    assert len(stale(folder, package)) == 1
    _published(results, tmp_path, package)
    assert stale(folder, package) == []


def test_a_result_of_other_code_is_stale(run, package, tmp_path, squares):
    _, folder = _published(run(), tmp_path, package)
    assert stale(folder, package) == []
    source = Path(squares.__file__)
    text = source.read_text("utf-8")

    def stale_with(old, new):
        assert old in text
        source.write_text(text.replace(old, new), "utf-8")
        code_digest.cache_clear()
        module_text.forget()
        return stale(folder, package)

    (line,) = stale_with("** 2.0", "** 2.5")
    assert re.fullmatch(r"squares: code \w{8} made its data, today's is \w{8}", line)
    (line,) = stale_with('"school & home"', '"school"')
    assert re.fullmatch(r"squares: code \w{8} made its claims, today's is \w{8}", line)
    said, _ = _published(tmp_path / "results", tmp_path, package)
    assert "are of other code" in said[0]
    _published(run(), tmp_path, package)  # which measures nothing anew
    assert stale(folder, package) == []
    (source.parent / "squares.py").unlink()
    importlib.import_module(f"{package}.numbers").EXPERIMENTS = ()
    assert stale(folder, package) == ["squares: there is no such experiment any more"]


def test_large_data_are_thinned_along_their_longest_dimension_and_say_so():
    wide = xr.Dataset(
        {"curve": (("seed", "z"), np.ones((3, 40_000))), "mean": ("seed", np.arange(3.0))},
        coords={"z": np.arange(40_000.0)},
    )
    content, kept = small_data(storage.to_bytes(wide))
    assert len(content) <= 300_000
    assert kept == {"z": 8}  # 960 kB of curves with 320 kB of z
    small = storage.from_bytes(content)
    assert small.attrs["thinned"] == "every 8th z"
    np.testing.assert_array_equal(small["z"], np.arange(0.0, 40_000, 8))
    assert small.sizes["seed"] == 3
    same = storage.to_bytes(wide.isel(z=slice(10)))
    assert small_data(same) == (same, {})
    with pytest.raises(UsageError, match="cannot be thinned to 100 bytes"):
        small_data(same, limit=100)


def test_a_large_figure_gets_fewer_colours_then_fewer_pixels_then_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (500, 1500), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert("RGBA").save(buffer, "png")
    content = small_png(buffer.getvalue(), 600_000)
    assert len(content) <= 600_000
    with Image.open(io.BytesIO(content)) as image:
        assert 900 <= image.width < 1500
        assert image.width / image.height == pytest.approx(3, rel=0.01)
    with pytest.raises(UsageError, match="larger than 100000 bytes"):
        small_png(buffer.getvalue(), 100_000)


def test_text_is_not_taken_for_markup():
    assert plain("a|b *c* d_e <f> $g$") == r"a\|b \*c\* d\_e \<f\> \$g\$"


def test_what_is_published_is_of_the_experiments_and_whole():
    folder = Path(__file__).parents[3] / "docs" / "gallery"
    results = read(folder)
    assert results.keys() <= set(experiment.names("experiments"))
    for name, result in results.items():
        assert damaged(folder, result) == []
        assert result.claims
        text = (folder / f"{name}.md").read_text("utf-8")
        assert text == page(result, "experiments"), f"`make publish` makes {name}.md anew"
        for picture in (f"{name}.png", f"{name}-details.png"):
            if picture in result.record["files"]:
                assert (folder / picture).stat().st_size <= 150_000
        assert (folder / f"{name}.nc").stat().st_size <= 300_000
    assert sum(path.stat().st_size for path in folder.glob("*")) <= 15_000_000
