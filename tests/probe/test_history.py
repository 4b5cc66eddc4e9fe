"""Reports over steps: what is kept, saved, found again and drawn."""

import json
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.probe import Finding, History, diagnose
from tests.draws import normal

X = jnp.asarray(np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4))
WEIGHTS = [normal(seed, (4, 4), 0.5) for seed in range(2)]
STEPS = 7


def loss(weights, x):
    return jnp.mean((jnp.tanh(x @ weights[0]) @ weights[1]) ** 2)


def weights_of(step):
    """Weights that are scaled down at steps 2, 3 and 5, and NaN in the last step."""
    factor = {2: 1e-4, 3: 1e-4, 5: 1e-4, 6: math.nan}.get(step, 1.0)
    return [WEIGHTS[0], WEIGHTS[1] * factor]


@pytest.fixture(scope="module")
def history():
    found = History()
    for step in range(STEPS):
        found.append(10 * step, diagnose(weights_of(step), loss, X))
    return found


def test_findings_are_told_with_the_step_where_they_began(history):
    found = [(step, finding.kind, finding.layers[0]) for step, finding in history.findings]
    assert found == [(20, "jump", "1"), (50, "jump", "1"), (60, "not_finite", "1")]
    assert all(isinstance(finding, Finding) for _, finding in history.findings)


def test_numbers_are_those_of_the_reports(history):
    data = history.to_xarray()
    assert len(history) == STEPS
    assert data["step"].values.tolist() == list(range(0, 10 * STEPS, 10))
    assert data["layer"].values.tolist() == ["0", "1"]
    report = diagnose(weights_of(2), loss, X)
    assert data["loss"][2] == report.loss
    for name in ("log10_gradient", "log10_parameter_gradient", "log10_rms", "saturated", "dead"):
        expected = [getattr(row, name) for row in report.rows]
        np.testing.assert_array_equal(data[name][2], expected)


def test_what_scan_has_stacked_is_the_same(history):
    run = jax.jit(lambda w: diagnose(w, loss, X))
    reports = [run(weights_of(step)) for step in range(STEPS)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *reports)
    other = History()
    other.extend(range(0, 10 * STEPS, 10), stacked)
    other.extend([70], jax.tree.map(lambda x: x[:1], stacked))
    data, expected = other.to_xarray(), history.to_xarray()
    for name in expected:
        np.testing.assert_allclose(data[name][:-1], expected[name], rtol=1e-5, atol=1e-6)
    assert [step for step, _ in other.findings] == [20, 50, 60]
    with pytest.raises(ValueError, match="'steps' must be 7 numbers, got 2"):
        other.extend([80, 90], stacked)


def test_steps_grow_and_what_was_not_measured_is_left_out():
    report = diagnose(WEIGHTS, loss, X)
    history = History()
    history.append(3, report)
    with pytest.raises(ValueError, match="'step' must be larger than 3, got 3"):
        history.append(3, report)
    history.append(5, report.unmeasured())
    history.append(5, report)
    assert history.to_xarray()["step"].values.tolist() == [3, 5]


def test_layers_may_come_and_go():
    """A layer that is not there at a step has no number there."""
    history = History()
    history.append(0, diagnose(WEIGHTS, loss, X))
    history.append(1, diagnose({"a": WEIGHTS[0]}, lambda w, x: jnp.sum(x @ w["a"]), X))
    data = history.to_xarray()
    assert data["layer"].values.tolist() == ["0", "1", "a"]
    there = np.isfinite(data["log10_gradient"].values)
    np.testing.assert_array_equal(there, [[True, True, False], [False, False, True]])


def test_what_was_saved_is_loaded(history, tmp_path):
    """Infinities and NaN, too; the file is JSON that any reader takes."""
    path = tmp_path / "history.json"
    history.save(path)
    loaded = History.load(path)
    assert loaded.findings == history.findings
    assert loaded.to_xarray().identical(history.to_xarray())
    json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    loaded.append(100, diagnose(WEIGHTS, loss, X))
    loaded.save(str(path))
    assert len(History.load(str(path))) == STEPS + 1
    assert os.listdir(tmp_path) == ["history.json"]
    History().save(path)
    assert len(History.load(path)) == 0


def test_what_is_no_history_is_refused(tmp_path):
    path = tmp_path / "other.json"
    for content in ("", "{", "[]", "3", '{"format": 99}', '{"format": 1, "steps": [1]}', "null"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"file that History.save wrote, got .*other"):
            History.load(path)
    path.write_bytes(b"\x80\x04\x95")
    with pytest.raises(ValueError, match=r"must be a file that History.save wrote"):
        History.load(path)
    with pytest.raises(FileNotFoundError):
        History.load(tmp_path / "missing.json")


@pytest.mark.parametrize("at", ["dump", "fsync", "replace"])
def test_a_save_that_is_interrupted_leaves_the_old_file(history, tmp_path, monkeypatch, at):
    path = tmp_path / "history.json"
    history.save(path)
    before = path.read_bytes()
    longer = History.load(path)
    longer.append(100, diagnose(WEIGHTS, loss, X))

    def stops(content, file=None, *others):
        if at == "dump":
            file.write("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(json if at == "dump" else os, at, stops)
    with pytest.raises(KeyboardInterrupt):
        longer.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["history.json"]


def test_the_figure_has_labels_and_marks(history):
    figure = history.plot()
    axes = figure.axes
    assert all(one.get_ylabel() for one in axes)
    assert any(one.get_xlabel() == "step (1)" for one in axes)
    assert [tick.get_text() for tick in axes[1].get_yticklabels()] == ["0", "1"]
    words = [text.get_text() for one in axes for text in one.texts]
    for kind in ("jump", "not_finite"):
        assert any(kind in text for text in words)
    figure.canvas.draw()
