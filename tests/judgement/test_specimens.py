"""The specimens of 07: from broken code to repaired code, by every way of repairing in parts."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from course_utils import timer
from course_utils.answers import answers
from course_utils.checking import check, examine, specimen
from course_utils.exercise import exercises, find, source, starting_mistakes, stub, variant
from course_utils.notebooks import NOTEBOOKS

from .table import applicable

SPECIMENS = [name for name, exercise in exercises().items() if exercise.broken]
every_specimen = pytest.mark.parametrize("name", SPECIMENS)
NOTEBOOK = (NOTEBOOKS / "source" / "07_find_the_bugs.md").read_text(encoding="utf-8")


def defined(name: str, text: str):
    """The function as a notebook's cell defines it."""
    namespace = dict(variant(name).__globals__)
    exec(compile(text, "<cell>", "exec"), namespace)
    return namespace[name]


def test_there_are_enough():
    """Twelve; four with two or more bugs; a whole encoder with four."""
    counts = [len(find(name).broken) for name in SPECIMENS]
    assert len(counts) >= 12
    assert sum(count >= 2 for count in counts) >= 4
    assert len(find("encoder_from_a_forum").broken) == 4


@every_specimen
def test_what_it_holds_stands_in_its_catalogue_in_that_order(name):
    own = dict.fromkeys(mistake.name for mistake in find(name).mistakes)
    assert [mistake for mistake in own if mistake in find(name).broken] == list(find(name).broken)


@every_specimen
def test_untouched_it_is_not_started_and_only_what_can_be_seen_is_told(name):
    examination = examine(defined(name, stub(name)), name)
    text = "\n".join(examination.lines)
    assert (examination.state, examination.mistakes) == ("not started", ())
    assert examination.passed < examination.total
    assert text.startswith(f"⏳ {name}: not repaired yet, ")
    assert "Seen:" in text and f"hint('{name}')" in text
    assert not any(mistake in text for mistake in find(name).broken)


@every_specimen
def test_a_print_put_in_is_no_repair(name):
    head, last, result = stub(name).rpartition("    return ")
    examination = examine(defined(name, f"{head}    print('here')\n{last}{result}"), name)
    assert (examination.state, examination.mistakes) == ("not started", ())


@every_specimen
def test_the_repaired_code_passes(name):
    assert examine(defined(name, source(name)), name).state == "passed"


@pytest.mark.parametrize(
    ("name", "left"),
    [
        pytest.param(name, left, id=f"{name}-{'+'.join(m.name for m in left)}")
        for name in SPECIMENS
        for size in range(1, len(find(name).broken))
        for left in combinations(starting_mistakes(name), size)
    ],
)
def test_what_is_left_after_a_part_is_repaired_is_named_exactly(name, left):
    examination = examine(variant(name, *left), name)
    assert examination.state in ("wrong", "crashed")  # two faults may fit each other
    assert examination.mistakes == tuple(mistake.name for mistake in left)


@pytest.mark.parametrize("name", [n for n in SPECIMENS if len(find(n).broken) > 2])
def test_a_repair_that_went_wrong_is_named_beside_what_is_left(name):
    """Two or more of the mistakes are left, and one that was not there at the start."""
    start = starting_mistakes(name)
    others = [mistake for mistake in find(name).mistakes if mistake not in start]
    made = [(*left, other) for size in range(2, len(start))
            for left in combinations(start, size) for other in others]  # fmt: skip
    exact = 0
    for mistakes in applicable(name, made):
        named, names = examine(variant(name, *mistakes), name).mistakes, {m.name for m in mistakes}
        assert set(named) <= names, names
        exact += set(named) == names
    print(f"{name}: {exact} of {len(made)} named exactly")
    assert exact >= 0.5 * len(made)


@every_specimen
def test_specimen_gives_the_broken_function(name):
    assert specimen(name).__code__.co_code == defined(name, stub(name)).__code__.co_code


def test_what_is_written_from_nothing_is_no_specimen():
    with pytest.raises(KeyError, match="softmax"):
        specimen("softmax")


@every_specimen
def test_it_fits_on_a_screen_and_nothing_in_it_tells(name):
    lines = stub(name).splitlines()
    assert 10 <= len(lines) <= 45
    assert not re.search(r"#|bug|broken|wrong|TODO|FIXME", stub(name))


@every_specimen
def test_the_notebook_says_where_it_was_seen(name):
    """In the note after its check: the article, or a thread with its address."""
    note = NOTEBOOK.split(f"\ncheck({name})\n")[1].split("\n## ")[0]
    told = note.partition("**Source.**")[2]
    assert "The article" in told or re.search(r"https://github\.com/\S+/(issues|pull)/\d+", told)


@every_specimen
def test_a_saved_specimen_counts_as_started_once_it_is_changed(name):
    def saved(text: str) -> bool:
        cells = [{"cell_type": "code", "source": text}]
        return answers({"cells": cells}, [name])[name].started

    assert not saved(stub(name))
    assert not saved(stub(name).replace('"""', '"""My note. ', 1) + "\n# looked at it\n")
    assert saved(source(name))


def test_a_clock_that_nobody_started_says_nothing(capsys):
    check(defined("noam_rate", stub("noam_rate")))
    assert "⏱" not in capsys.readouterr().out
    timer.stop()
    assert "No round is running" in capsys.readouterr().out


def test_checks_tell_the_time_that_is_used(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(timer.time, "monotonic", lambda: now[0])
    timer.start(15)
    assert capsys.readouterr().out == "⏱ 15 minutes from now.\n"
    now[0] += 7 * 60
    assert timer.lines() == ["⏱ 7 of 15 minutes used."]
    check(defined("noam_rate", stub("noam_rate")))
    assert capsys.readouterr().out.endswith("⏱ 7 of 15 minutes used.\n")
    now[0] += 9 * 60
    assert timer.lines()[0].startswith("⏱ 16 of 15 minutes used: time is up")
    timer.stop()
    assert timer.lines() == []
    with pytest.raises(ValueError, match="more than 0"):
        timer.start(0)
