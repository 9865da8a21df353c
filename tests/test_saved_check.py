"""Made-up learners' notebooks: what becomes of each, in progress() and in the saved check."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from course_utils import attempt, use
from course_utils.answers import answers
from course_utils.exercise import exercises, source, stub
from course_utils.notebooks import (
    NOTEBOOKS,
    UnusableNotebook,
    code_cells,
    examine_answer,
    exercise_cells,
    progress,
    read,
    saved_answer,
)
from course_utils.saved_check import check_files, judge, run_nbval

SOFTMAX, ATTENTION, HEADS = "00_start_here", "01_self_attention", "02_multi_head_attention"
SPECIMENS = "07_find_the_bugs"

RIGHT = "def softmax(scores):\n    return tf.nn.softmax(scores, axis=-1)"
UNSTABLE = "def softmax(scores):\n    e = tf.exp(scores)\n    return e / tf.reduce_sum(e, -1, True)"
ENDLESS = "def softmax(scores):\n    while True:\n        pass"
PASSED, TO_DO = ("passed", ()), ("not started", ())
WRONG, CRASHED = ("wrong", ()), ("crashed", ())
NAMED = ("wrong", ("unstable_softmax",))

FAKE_CHECK = "check = lambda fn: print('✅ softmax: right in all 6 cases.')\nnp.allclose = 1"


@pytest.fixture(autouse=True)
def short_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process; the kernels of the saved check keep theirs."""
    monkeypatch.setattr(attempt, "SECONDS_PER_CASE", 2.0)


class Learner(NamedTuple):
    """A notebook to make of the course's, and the state and mistakes of each exercise in it."""

    notebook: str
    make: Callable[[NotebookNode], None]
    expected: dict[str, tuple[str, tuple[str, ...]]]
    file: str = ""  # if saved under another name
    nbval: bool = False  # a kernel takes seconds: only where it could tell something else


def write(notebook: NotebookNode, exercise: str, code: str) -> None:
    """Write an answer into the exercise's own cell."""
    cells = code_cells(notebook)
    cells[exercise_cells(notebook)[exercise][0]].source = code


def append(notebook: NotebookNode, *sources: str) -> None:
    notebook.cells += [new_code_cell(source) for source in sources]


def prepend(notebook: NotebookNode, *sources: str) -> None:
    notebook.cells[:0] = [new_code_cell(source) for source in sources]


def answer(code: str, *more: str) -> Callable[[NotebookNode], None]:
    """The answer to softmax, and further cells below everything."""

    def make(notebook: NotebookNode) -> None:
        write(notebook, "softmax", code)
        append(notebook, *more)

    return make


def with_solved_outputs(notebook: NotebookNode) -> None:
    write(notebook, "softmax", UNSTABLE)
    solved = code_cells(read(NOTEBOOKS / "solved" / f"{SOFTMAX}.ipynb"))
    for cell, shown in zip(code_cells(notebook), solved, strict=True):
        cell.outputs = copy.deepcopy(shown.outputs)


def with_tampering(notebook: NotebookNode) -> None:
    write(notebook, "softmax", UNSTABLE)
    prepend(notebook, FAKE_CHECK, "import sys\nsys.exit()")
    notebook.cells.insert(4, new_code_cell(FAKE_CHECK))


def duplicated(notebook: NotebookNode) -> None:
    write(notebook, "softmax", UNSTABLE)
    append(notebook, RIGHT, "check(softmax)", "softmax = use(softmax)", stub("softmax"))


def moved_and_deleted(notebook: NotebookNode) -> None:
    write(notebook, "softmax", RIGHT)
    notebook.cells = [c for c in reversed(notebook.cells) if c.source.startswith(("def", "print"))]


def colab(notebook: NotebookNode) -> None:
    """What Colab leaves: no metadata, no ids, a heading changed; the second exercise is wrong."""
    write(notebook, "scaled_dot_product_attention", source("scaled_dot_product_attention"))
    mask = source("attention_mask").replace("<= positions[:, None]", "< positions[:, None]")
    assert mask != source("attention_mask")
    write(notebook, "attention_mask", f"{mask}\n\nattention_mask(None, 3)  # just looking")
    prepend(notebook, "!pip install nothing", "def broken(:", "%%bash\nls softmax = 1")
    notebook.nbformat_minor, notebook.metadata = 0, {}
    for cell in notebook.cells:
        cell.metadata = {}
        cell.pop("id", None)


def helper_elsewhere(notebook: NotebookNode) -> None:
    """Everything the answer needs stands in other cells, and a comment tries to skip the test."""
    write(notebook, "softmax", "# NBVAL_SKIP\ndef softmax(scores):\n    return divided(scores)")
    prepend(notebook, "import tensorflow as flow, sys as check", "AXIS = -2\nAXIS = AXIS + 1")
    append(notebook, "def divided(scores):\n    return flow.nn.softmax(scores, axis=AXIS)")


def wrong_heads(notebook: NotebookNode) -> None:
    """self_attention is right; that it calls a wrong split_heads is not its fault."""
    wrong = source("split_heads").replace("tf.transpose(heads, (0, 2, 1, 3))", "heads")
    write(notebook, "split_heads", wrong)
    write(notebook, "self_attention", source("self_attention"))


def some_specimens_repaired(notebook: NotebookNode) -> None:
    """One repaired, one in part, one only looked at; the others untouched."""
    write(notebook, "published_self_attention", source("published_self_attention"))
    write(notebook, "vision_attention", stub("vision_attention").replace(
        "patches.shape[-1] **", "queries.shape[-1] **"))  # fmt: skip
    looking = stub("noam_rate").replace("    return", "    print(n)\n    return")
    write(notebook, "noam_rate", looking)


LEARNERS = {
    "right": Learner(SOFTMAX, answer(RIGHT), {"softmax": PASSED}),
    "wrong": Learner(SOFTMAX, answer(UNSTABLE), {"softmax": NAMED}),
    "untouched": Learner(SOFTMAX, lambda notebook: None, {"softmax": TO_DO}),
    "half done": Learner(
        ATTENTION,
        lambda notebook: write(notebook, "attention_mask", source("attention_mask")),
        {"scaled_dot_product_attention": TO_DO, "attention_mask": PASSED},
    ),
    "with the solved notebook's outputs": Learner(
        SOFTMAX, with_solved_outputs, {"softmax": NAMED}
    ),
    "with another check": Learner(SOFTMAX, with_tampering, {"softmax": NAMED}, nbval=True),
    "check taken along": Learner(
        SOFTMAX, answer(f"{UNSTABLE}[check][0]", FAKE_CHECK), {"softmax": WRONG}
    ),
    "calls the reference": Learner(
        SOFTMAX,
        answer(
            "def softmax(scores):\n    return ours(scores)",
            "from course_utils.exercises.start_here import softmax as ours",
        ),
        {"softmax": WRONG},
    ),
    "imports the reference": Learner(
        SOFTMAX, answer("from course_utils.exercises.start_here import softmax"),
        {"softmax": WRONG},
    ),
    "uses use": Learner(
        SOFTMAX, answer("def softmax(scores):\n    return use('softmax')(scores)"),
        {"softmax": WRONG},
    ),
    "looks into sys.modules": Learner(
        SOFTMAX,
        answer(
            "import sys\ndef softmax(scores):\n"
            "    return sys.modules['course_utils.exercises.start_here'].softmax(scores)"
        ),
        {"softmax": WRONG},
    ),
    "endless": Learner(SOFTMAX, answer(ENDLESS), {"softmax": CRASHED}, nbval=True),
    "endless helper": Learner(
        SOFTMAX,
        answer("def softmax(scores):\n    return F", "F = next(x for x in iter(int, 1) if x)"),
        {"softmax": CRASHED},
    ),
    "duplicated": Learner(SOFTMAX, duplicated, {"softmax": PASSED}),
    "last one is wrong": Learner(SOFTMAX, answer(RIGHT, UNSTABLE), {"softmax": NAMED}),
    "moved and deleted": Learner(SOFTMAX, moved_and_deleted, {"softmax": PASSED}),
    "from Colab": Learner(
        ATTENTION, colab,
        {"scaled_dot_product_attention": PASSED, "attention_mask": ("wrong", None)},
        file="Copy of Untitled3.ipynb", nbval=True,
    ),
    "typo in the answer": Learner(
        SOFTMAX, answer("def softmax(scores):\n    return scores +"), {"softmax": CRASHED}
    ),
    "typo elsewhere": Learner(SOFTMAX, answer(RIGHT, "if so", "%%time\n1"), {"softmax": PASSED}),
    "timed": Learner(SOFTMAX, answer(f"%%time\n{RIGHT}"), {"softmax": PASSED}),
    "helper elsewhere": Learner(SOFTMAX, helper_elsewhere, {"softmax": PASSED}),
    "lambda": Learner(
        SOFTMAX, answer("softmax = lambda scores: tf.nn.softmax(scores)"), {"softmax": PASSED}
    ),
    "compiled": Learner(
        SOFTMAX,
        answer(
            "def softmax(scores):\n    if tf.reduce_max(scores) > 0:\n        pass\n"
            "    return tf.nn.softmax(scores)\n\nsoftmax = tf.function(softmax)",
            "softmax = use(softmax)",
        ),
        {"softmax": PASSED},
    ),
    "undefined name": Learner(
        SOFTMAX, answer("softmax = jnp.exp"), {"softmax": CRASHED}
    ),
    "wrong part, right whole": Learner(
        HEADS, wrong_heads,
        {"split_heads": ("wrong", None), "merge_heads": TO_DO, "self_attention": PASSED},
        nbval=True,
    ),
    "some specimens repaired": Learner(
        SPECIMENS, some_specimens_repaired,
        {
            **{name: TO_DO for name, e in exercises().items() if e.broken},
            "published_self_attention": PASSED,
            "vision_attention": ("wrong", ("mask_after_softmax",)),
        },
        nbval=True,
    ),
}  # fmt: skip


def made(learner: Learner, folder: Path) -> Path:
    """The learner's file, made from the course's notebook."""
    notebook = read(NOTEBOOKS / f"{learner.notebook}.ipynb")
    learner.make(notebook)
    file = folder / (learner.file or f"{learner.notebook}.ipynb")
    file.write_text(json.dumps(notebook), encoding="utf-8")
    return file


def fits(examination, expected: tuple[str, tuple[str, ...] | None]) -> bool:
    """None for mistakes: any that has a name."""
    state, mistakes = expected
    named = bool(examination.mistakes) if mistakes is None else examination.mistakes == mistakes
    return examination.state == state and named


@pytest.mark.parametrize("name", LEARNERS)
def test_progress_and_saved_check_say_what_is_true(name: str, tmp_path: Path) -> None:
    learner = LEARNERS[name]
    file = made(learner, tmp_path)
    found = answers(read(file), learner.expected)
    for exercise, expected in learner.expected.items():
        examination = examine_answer(found[exercise], file.name, tmp_path)
        assert fits(examination, expected), examination
    if learner.nbval:
        verdicts = {v.examination.exercise: v.examination for v in judge(file)}
        assert verdicts.keys() == learner.expected.keys()
        for exercise, expected in learner.expected.items():
            assert fits(verdicts[exercise], expected), verdicts[exercise]


def test_at_least_ten_learners_and_every_state() -> None:
    states = {state for learner in LEARNERS.values() for state, _ in learner.expected.values()}
    assert len(LEARNERS) >= 10
    assert states == {"passed", "wrong", "crashed", "not started"}


def test_a_typo_is_told_with_its_line(tmp_path: Path) -> None:
    file = made(LEARNERS["typo in the answer"], tmp_path)
    assert "line 2: return scores +" in answers(read(file), ["softmax"])["softmax"].error


def test_the_old_notebook_format(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "input": RIGHT.splitlines(True), "language": "python",
            "metadata": {}, "outputs": [], "collapsed": False}  # fmt: skip
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""},
           "worksheets": [{"cells": [cell], "metadata": {}}]}  # fmt: skip
    file = tmp_path / "old.ipynb"
    file.write_text(json.dumps(old), encoding="utf-8")
    assert "tf.nn.softmax" in answers(read(file), ["softmax"])["softmax"].code


# ---- the command ----


def test_status_0_and_one_line_per_exercise(tmp_path: Path, capsys) -> None:
    assert check_files([str(made(LEARNERS["helper elsewhere"], tmp_path))]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("✅") and first.endswith("softmax: passed") and SOFTMAX in first
    assert last == "1 of 1 exercises passed."


def test_status_1_when_something_is_not_done(tmp_path: Path, capsys) -> None:
    assert check_files([str(made(LEARNERS["untouched"], tmp_path))]) == 1
    assert "softmax: not started" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read: No such file"),
        ("def softmax(): pass", "is not a notebook."),
        ('{"nbformat": 4}', "is not a notebook."),
        (nbformat.writes(new_notebook(cells=[new_code_cell("print(1)")])), "not a notebook of"),
    ],
)
def test_status_2_and_one_sentence_for_what_cannot_be_judged(text, reason, tmp_path, capsys):
    file = tmp_path / "file.ipynb"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    assert check_files([str(file)]) == 2
    assert reason in capsys.readouterr().err


def test_the_solved_notebooks_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UnusableNotebook, match="make build"):
        judge(made(LEARNERS["right"], tmp_path), folder=tmp_path)


def test_nothing_after_a_cell_without_end_has_passed(tmp_path: Path) -> None:
    endless = "while True:\n    try:\n        __import__('time').sleep(1)\n" \
              "    except BaseException:\n        pass"  # fmt: skip
    cells = [new_code_cell(code, execution_count=1) for code in ("x = 1", endless, "x")]
    file = tmp_path / "endless.ipynb"
    nbformat.write(new_notebook(cells=cells), file)
    results = run_nbval(file, seconds_per_cell=2)
    assert [results[cell].passed for cell in range(3)] == [True, False, False]
    assert run_nbval(file, seconds_per_cell=60, seconds=3) == {}


def test_temporary_files_of_a_notebook_are_gone_after_it(tmp_path: Path) -> None:
    note, file = tmp_path / "note", tmp_path / "leaves_a_folder.ipynb"
    code = f"import tempfile\nprint(tempfile.mkdtemp(), file=open({str(note)!r}, 'w'))"
    nbformat.write(new_notebook(cells=[new_code_cell(code, execution_count=1)]), file)
    assert run_nbval(file, seconds_per_cell=60)[0].passed
    assert not Path(note.read_text().strip()).exists()


# ---- in the notebook ----


def test_progress_tells_each_exercise_and_the_total(tmp_path: Path, capsys, monkeypatch) -> None:
    for name in ("wrong", "half done"):
        made(LEARNERS[name], tmp_path)
    monkeypatch.chdir(tmp_path)
    progress()
    first = capsys.readouterr().out
    progress()
    assert capsys.readouterr().out == first
    assert first.splitlines() == [
        "00_start_here",
        "  ❌ softmax: wrong, unstable_softmax",
        "01_self_attention",
        "  ⏳ scaled_dot_product_attention: to do",
        "  ✅ attention_mask: done",
        "1 of 3 exercises done, in the notebooks as they were last saved.",
    ]


def test_use_finds_the_saved_answer(tmp_path: Path, capsys, monkeypatch) -> None:
    made(LEARNERS["helper elsewhere"], tmp_path)
    monkeypatch.chdir(tmp_path)
    assert use("softmax") is not None
    assert "softmax is yours, from 00_start_here.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["untouched", "calls the reference", "typo in the answer"])
def test_what_is_no_answer_is_not_used(name: str, tmp_path: Path, monkeypatch) -> None:
    made(LEARNERS[name], tmp_path)
    monkeypatch.chdir(tmp_path)
    assert saved_answer("softmax") == ("00_start_here.ipynb", None)


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"nbformat": 4, "cells": [1]}'])
def test_saved_answer_never_raises(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "00_start_here.ipynb").write_text(text)
    assert saved_answer("softmax", tmp_path)[1] is None
    assert saved_answer("no such exercise", tmp_path)[1] is None


def test_answers_that_call_each_other_come_to_an_end(tmp_path: Path) -> None:
    notebook = read(NOTEBOOKS / f"{HEADS}.ipynb")
    write(notebook, "split_heads", "def split_heads(inputs, num_heads):\n    merge_heads(inputs)")
    write(notebook, "merge_heads", "def merge_heads(heads):\n    return split_heads(heads, 1)")
    (tmp_path / f"{HEADS}.ipynb").write_text(json.dumps(notebook))
    assert saved_answer("split_heads", tmp_path)[1] is not None
