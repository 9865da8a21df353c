"""Nothing that an attempt does brings the check down; each gets a clear, repeatable answer."""

from __future__ import annotations

import gc
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from course_utils import attempt as attempts
from course_utils.checking import check, examine, use
from course_utils.exercise import exercises, find, split_source, stub, variant

from .nasty import NASTY, OVERWRITTEN, in_a_notebook

# What must not be in an answer, because it differs from machine to machine and run to run.
UNSTABLE = re.compile(r"0x[0-9a-f]{4,}|/(?:home|root|tmp|usr|work|var)\b|\.py\b|\d\d:\d\d")


@pytest.fixture(autouse=True)
def short_time_limit(monkeypatch):
    monkeypatch.setattr(attempts, "SECONDS_PER_CASE", 1.0)


def with_body(name, body):
    """The exercise's stub with another body; None leaves the stub as it is."""
    text = stub(name) if body is None else f"{split_source(name)[0]}    {body}\n"
    room = dict(variant(name).__globals__, __name__="__main__")
    exec(compile("from __future__ import annotations\n" + text, "<cell>", "exec"), room)
    return room[name]


def quiet_examine(make, name, capfd):
    """Examine twice; nothing may be written, warned or logged, and both texts must be equal.

    `make` makes the answer anew, as running the cell again would.
    """
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    loggers = [logging.getLogger(), tf.get_logger()]
    for logger in loggers:
        logger.addHandler(handler)
    capfd.readouterr()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            first, second = examine(make(), name), examine(make(), name)
            gc.collect()  # a coroutine that nobody awaited complains when it goes
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")
    assert [str(w.message) for w in warned] == []
    assert [record.getMessage() for record in records] == []
    assert first == second
    return first


@pytest.mark.parametrize("nasty", NASTY, ids=lambda nasty: f"{nasty.exercise}-{nasty.what}")
def test_it_gets_a_clear_answer(nasty, capfd):
    examination = quiet_examine(
        lambda: in_a_notebook(nasty.cell, nasty.exercise), nasty.exercise, capfd
    )
    text = "\n".join(examination.lines)
    assert examination.state == nasty.state, text
    assert nasty.first in examination.lines[0], text
    assert nasty.anywhere in " ".join(text.split()), text
    assert not UNSTABLE.search(text), text
    assert max(map(len, text.splitlines())) <= 120
    assert len(text) < 3000


@pytest.mark.parametrize("nasty", NASTY, ids=lambda nasty: f"{nasty.exercise}-{nasty.what}")
def test_check_prints_the_lines_of_examine_and_nothing_else(nasty, capsys):
    cell = {nasty.exercise: in_a_notebook(nasty.cell, nasty.exercise), "check": check}
    examination = examine(in_a_notebook(nasty.cell, nasty.exercise), nasty.exercise)
    capsys.readouterr()
    exec(f"check({nasty.exercise})", cell)
    written = capsys.readouterr()
    assert written.out == "\n".join(examination.lines) + "\n"
    assert written.err == ""


STUBBORN = {
    "its sleep is interrupted inside the try, each time": """
    import time
    def softmax(scores):
        while True:
            try:
                time.sleep(100)
            except BaseException:
                pass
    """,
    "TensorFlow is interrupted in the middle of its own work": """
    def softmax(scores):
        while True:
            try:
                scores = scores + 1
            except BaseException:
                pass
    """,
    "TensorFlow builds a graph when it is interrupted": """
    def softmax(scores):
        while True:
            try:
                tf.function(lambda x: tf.nn.softmax(x + 1))(scores)
            except BaseException:
                pass
    """,
}


@pytest.mark.parametrize("cell", STUBBORN.values(), ids=STUBBORN)
def test_an_endless_attempt_that_swallows_every_interruption(cell):
    """In a process of its own: one that hangs or crashes Python must not take the tests along."""
    program = (
        "from course_utils import attempt, checking\n"
        "from judgement.nasty import in_a_notebook\n"
        "attempt.SECONDS_PER_CASE = 1.0\n"
        f"checked = checking.examine(in_a_notebook({cell!r}, 'softmax'), 'softmax')\n"
        "print(checked.state, checked.lines[0])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.startswith("crashed 💥 softmax did not end within 1 seconds")


@pytest.mark.parametrize("name", sorted(exercises()))
def test_the_stub_is_not_started(name, capfd):
    examination = quiet_examine(lambda: with_body(name, None), name, capfd)
    assert examination.state == "not started"
    words = "not repaired yet" if find(name).broken else "not started"
    assert examination.lines[0].startswith(f"⏳ {name}: {words}")


@pytest.mark.parametrize("name", sorted(exercises()))
@pytest.mark.parametrize("body, state", [
    ("return None", "wrong"),
    ("raise ValueError('no')", "crashed"),
    ("print('here')", "wrong"),
    ("return 'text'", "wrong"),
    ("return (1, 2, 'three')", "wrong"),
    ("raise SystemExit", "crashed"),
])  # fmt: skip
def test_every_exercise_survives(name, body, state, capfd):
    examination = quiet_examine(lambda: with_body(name, body), name, capfd)
    assert examination.state == state, examination.lines
    assert examination.mistakes == ()
    assert name in examination.lines[0]


@pytest.mark.parametrize("name", sorted(exercises()))
def test_an_endless_loop_costs_one_time_limit_in_every_exercise(name, monkeypatch):
    monkeypatch.setattr(attempts, "SECONDS_PER_CASE", 0.2)
    examination = examine(with_body(name, "while True: pass"), name)
    assert examination.state == "crashed"
    assert "did not end within 0.2 seconds" in examination.lines[0]


@pytest.mark.parametrize("module, name, other", OVERWRITTEN, ids=[o[1] for o in OVERWRITTEN])
@pytest.mark.parametrize("body", ["return tf.nn.softmax(scores)", "return tf.zeros_like(scores)"])
def test_an_overwritten_library_function_is_noticed(module, name, other, body, monkeypatch, capfd):
    answer = in_a_notebook(f"def softmax(scores):\n    {body}", "softmax")
    other.__module__ = "__main__"  # as it is when a notebook's cell defines it
    with monkeypatch.context() as patch:
        patch.setattr(module, name, other)
        examination = quiet_examine(lambda: answer, "softmax", capfd)
        if examination.state == "passed":  # of no use for a verdict: then only the truth counts
            assert "zeros" not in body
        else:
            assert name in " ".join(examination.lines) or "zeros" in body
    assert examine(variant("softmax"), "softmax").state == "passed"


@pytest.mark.parametrize("module, name", [(np, "allclose"), (np, "array_equal"), (tf, "matmul"),
                                          (tf, "reduce_all")])  # fmt: skip
def test_the_overwritten_function_is_named(module, name, monkeypatch):
    def other(*_, **__):
        return True

    other.__module__ = "__main__"
    monkeypatch.setattr(module, name, other)
    examination = examine(lambda scores: scores, "softmax")
    assert examination.state == "wrong"
    assert name in examination.lines[0]
    assert "restart" in " ".join(examination.lines).lower()


def test_a_right_answer_while_equality_is_overwritten_by_a_function_of_a_library(monkeypatch):
    """Not from the notebook, so not noticed; a wrong answer must still not pass."""
    monkeypatch.setattr(np, "allclose", max)
    monkeypatch.setattr(np, "array_equal", max)
    monkeypatch.setattr(tf, "reduce_all", max)
    assert examine(lambda scores: tf.zeros_like(scores), "softmax").state != "passed"


@pytest.mark.parametrize("thing", [None, 3, "softmax", tf.ones(2), object(), [], ...])
def test_check_and_use_of_what_is_no_function_say_so(thing, capsys):
    check(thing)
    assert capsys.readouterr().out.startswith("💥")
    use(thing)
    assert capsys.readouterr().out


def test_a_name_that_no_exercise_has(capsys):
    def my_own_helper():
        return 1

    assert examine(my_own_helper).state == "crashed"
    check(my_own_helper)
    assert "no exercise 'my_own_helper'" in capsys.readouterr().out


def test_random_numbers_of_the_notebook_go_on_as_if_nothing_had_happened():
    def drawn(look):
        np.random.seed(5)
        tf.random.set_seed(5)
        first = float(tf.random.uniform(())), np.random.random()
        if look:
            examine(variant("softmax"), "softmax")
        return *first, np.random.random()

    assert drawn(look=True) == drawn(look=False)


def test_the_seed_of_the_notebook_stays():
    """Fresh layers must draw the same numbers twice, but not by setting the learner's seed."""
    tf.random.set_seed(5)
    examine(variant("transformer_forward"))
    assert tf.compat.v1.random.get_seed(None)[0] == 5


def test_inputs_are_made_anew_for_each_attempt():
    """What one attempt does to the inputs, the next must not see."""
    name = "softmax"
    before = [attempts.run(find(name).reference, case).value for case in find(name).cases]

    def spoils(scores):
        return tf.raw_ops.InplaceAdd(x=scores, i=[0], v=scores[:1])

    examine(spoils, name)
    after = [attempts.run(find(name).reference, case).value for case in find(name).cases]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
