"""What the README says is true."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

import sigjax

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_gives_what_its_comments_say():
    block, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"jax": jax, "sigjax": sigjax}
    lines = re.findall(r"^print\((.*)\)\s+# ([-\d.e]+)", block, re.MULTILINE)
    assert len(lines) == 4
    for expression, number in lines:
        assert float(eval(expression, names)) == pytest.approx(float(number), rel=1e-4)


def test_the_gates_example_runs():
    *_, block, _, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"inputs": jnp.ones((2, 5, 128))}
    exec(block, names)
    assert names["outputs"].shape == names["gates"].update.shape == (2, 5, 256)


def test_the_probe_and_the_stabiliser_examples_run(capsys):
    _, diagnosis, loop, line, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"sigjax": sigjax}
    exec(diagnosis, names)
    said = re.search(re.escape(diagnosis) + r"```\n\n```\n(.*?)```", README, re.DOTALL)[1]
    assert capsys.readouterr().out.split() == said.split()
    names |= {
        "optimizer": nnx.Optimizer(names["model"], optax.sgd(0.1), wrt=nnx.Param),
        "batches": [names["batch"]] * 2,
    }
    exec(loop + line, names)
    assert [(step, found.kind) for step, found in names["history"].findings] == [(0, "vanishing")]
    assert names["loss_fn"](names["model"], names["batch"]).shape == ()


def test_the_calibration_and_the_switch_examples_run(capsys):
    *_, calibration, switch = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scores, labels = [-2.0, -1.0, 0.5, 1.0, 2.0], [0, 0, 1, 0, 1]
    names = {"scores": scores, "labels": labels, "new_scores": scores, "new_labels": labels}
    exec(calibration + switch, names)
    assert 0 <= float(names["probabilities"][0]) < 0.5
    assert "[ True False  True]" in capsys.readouterr().out


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    anchors = {re.sub(r"\W+", "-", h.lower()) for h in re.findall(r"^#+ (.*)$", README, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_commands_of_make_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.M) or target == "in", target
