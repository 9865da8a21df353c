"""The verdict on saved notebooks.

Only a learner's answers count, not what their file shows: they are put into a copy of the solved
notebook, which keeps its stored outputs, and nbval runs that copy and compares.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from course_utils.answers import ROOM, Answer, answers, defined_exercises, read_code
from course_utils.checking import Examination, examine
from course_utils.exercise import exercises, stub
from course_utils.notebooks import (
    NOTEBOOKS,
    UnusableNotebook,
    code_cells,
    exercise_cells,
    judged_unrun,
    kernel_environment,
    notebook_files,
    read,
    state_in_words,
    symbol,
    title,
)

SECONDS_PER_CELL = 300.0  # a training takes minutes; check itself gives up a case after 10 s
SECONDS_PER_NOTEBOOK = 1200.0
_RECORDS = "examinations.json"
# A passed answer may earn a remark that the reference does not; nbval must not mind.
_WITHOUT_REMARKS = "regex: (?m)^   Remark: .*\\n(?:      .*\\n)*\nreplace: \n"


class Verdict(NamedTuple):
    """What became of one exercise in one file; `notebook` is the course's, NN_name."""

    file: Path
    notebook: str
    examination: Examination

    @property
    def passed(self) -> bool:
        return self.examination.state == "passed"


def check_files(files: Sequence[str]) -> int:
    """Print the verdict on saved notebooks. 0: all passed, 1: not all, 2: a file is unusable."""
    found, unusable = [], False
    for file in files:
        try:
            verdicts = judge(Path(file))
        except UnusableNotebook as error:
            print(error, file=sys.stderr)
            unusable = True
            continue
        found += verdicts
        for verdict in verdicts:
            print(_line(verdict), flush=True)
    passed = sum(verdict.passed for verdict in found)
    print(f"{passed} of {len(found)} exercises passed.")
    return 2 if unusable else int(passed < len(found))


def _line(verdict: Verdict) -> str:
    examination = verdict.examination
    state = {"passed": "passed", "not started": "not started"}.get(examination.state)
    words = state or state_in_words(examination)
    return f"{symbol(examination)} {verdict.file}  {examination.exercise}: {words}"


def judge(
    file: Path,
    folder: Path = NOTEBOOKS,
    seconds_per_cell: float = SECONDS_PER_CELL,
    seconds: float = SECONDS_PER_NOTEBOOK,
) -> tuple[Verdict, ...]:
    """The verdict on each exercise of a saved notebook; UnusableNotebook if it is none of these.

    folder: the course's notebooks; those in folder/solved are what the answers are put into.
    """
    learners = read(file)
    name, solved = _course_notebook(learners, file, folder / "solved")
    found = answers(learners, list(exercise_cells(solved)))
    judged = {exercise: judged_unrun(answer) for exercise, answer in found.items()}
    if None in judged.values():
        runnable = {e: found[e] for e, verdict in judged.items() if verdict is None}
        with tempfile.TemporaryDirectory() as room:
            for other in notebook_files(folder / "solved").values():
                shutil.copy(other, room)
            judged |= _run(Path(room), name, solved, runnable, (seconds_per_cell, seconds))
    return tuple(Verdict(file, name, judged[exercise]) for exercise in found)


# ---- which notebook is it? ----


def _course_notebook(learners: NotebookNode, file: Path, folder: Path) -> tuple[str, NotebookNode]:
    """The solved notebook that a learner's was made from: by what stands in it, not by its name."""
    candidates = {path.stem: read(path) for path in notebook_files(folder).values()}
    if not candidates:
        raise UnusableNotebook(f"There is no solved notebook in {folder}: run `make build` first.")
    defined = defined_exercises(learners, exercises())
    scores = {name: _likeness(learners, c, defined) for name, c in candidates.items()}
    best = max(scores, key=scores.__getitem__)
    if not scores[best]:
        raise UnusableNotebook(f"{file} is not a notebook of this course.")
    return best, candidates[best]


def _likeness(learners: NotebookNode, course: NotebookNode, defined: set[str]) -> int:
    """Shared cells, and above that the title and the exercises, which survive every tool."""
    shared_cells = {c.get("id", 0) for c in learners.cells} & {c.get("id", 1) for c in course.cells}
    same_title = bool(title(course)) and title(learners) == title(course)
    return 10 * len(defined & exercise_cells(course).keys()) + 10 * same_title + len(shared_cells)


# ---- put the answers in and run ----


def _run(
    room: Path,
    name: str,
    solved: NotebookNode,
    runnable: Mapping[str, Answer],
    limits: tuple[float, float],
) -> dict[str, Examination]:
    """Judge answers by running them in a copy of the solved notebook in the folder `room`."""
    filled, places = fill_in(solved, runnable)
    nbformat.write(filled, room / f"{name}.ipynb")
    cells = run_nbval(room / f"{name}.ipynb", *limits, ignore=_WITHOUT_REMARKS)
    records = _records(room)
    return {
        exercise: _verdict(exercise, [cells.get(p) for p in places[exercise]], records)
        for exercise in runnable
    }


def fill_in(
    solved: NotebookNode, runnable: Mapping[str, Answer]
) -> tuple[NotebookNode, dict[str, tuple[int, int]]]:
    """A copy of the solved notebook with these answers, up to the last check; stubs for the others.

    Also where each exercise and its check stand in it, counted in code cells.
    """
    filled = copy.deepcopy(solved)
    cells, places, bound = code_cells(filled), exercise_cells(filled), set()
    for exercise, (definition, _) in places.items():
        cell = cells[definition]
        bound |= _bound_above(filled, cell)
        cell.source = _source(runnable.get(exercise), exercise, bound)
        cell.metadata["tags"] = ["nbval-ignore-output"]  # a definition may warn; it must not fail
    for exercise, (_, check) in places.items():
        place = filled.cells.index(cells[check])
        filled.cells.insert(place + 1, new_code_cell(f"{_ME}.write_down({exercise}, {exercise!r})"))
    last = max(check for _, check in places.values())
    del filled.cells[filled.cells.index(cells[last]) + 2 :]
    order = [id(cell) for cell in code_cells(filled)]
    moved = {e: tuple(order.index(id(cells[p])) for p in pair) for e, pair in places.items()}
    return filled, moved


_ME = '__import__("course_utils.saved_check").saved_check'


def _bound_above(notebook: NotebookNode, cell: NotebookNode) -> set[str]:
    above = notebook.cells[: [id(c) for c in notebook.cells].index(id(cell))]
    statements = read_code(NotebookNode(cells=above))
    return set().union(*(s.binds for s in statements if hasattr(s, "binds")))


def _source(answer: Answer | None, exercise: str, bound: set[str]) -> str:
    if answer is None:
        return stub(exercise)
    missing = [need for need in answer.needs if need not in bound]
    fetched = [f'{need} = {ROOM}.usable("{need}")\n' for need in missing]
    return "".join(fetched) + answer.code


def write_down(fn: Callable, exercise: str) -> None:
    """Called in the copy after each check: keep what `examine` says, with the mistake's name."""
    with open(_RECORDS, "a", encoding="utf-8") as records:
        records.write(json.dumps(asdict(examine(fn, exercise))) + "\n")


def _records(room: Path) -> dict[str, Examination]:
    if not (room / _RECORDS).exists():
        return {}
    lines = (room / _RECORDS).read_text(encoding="utf-8").splitlines()
    fields = [json.loads(line) for line in lines]
    tuples = ({k: tuple(v) if isinstance(v, list) else v for k, v in f.items()} for f in fields)
    return {f["exercise"]: Examination(**f) for f in tuples}


def _verdict(
    exercise: str, cells: list[CellResult | None], records: Mapping[str, Examination]
) -> Examination:
    """Passed only if nbval passed the definition and the check, and examine agrees."""
    record = records.get(exercise)
    if record and (record.state != "passed" or all(cell and cell.passed for cell in cells)):
        return record
    if record:
        return Examination(exercise, "wrong", lines=("❌ check does not say what it should",))
    failed = next((cell for cell in cells if cell and not cell.passed), None)
    reason = failed.reason if failed else "the notebook came to an end before it"
    return Examination(exercise, "crashed", lines=(f"💥 {reason}",))


# ---- nbval ----


class CellResult(NamedTuple):
    """What nbval found in one code cell; `reason` is empty if it passed."""

    passed: bool
    reason: str = ""


def run_nbval(
    file: Path,
    seconds_per_cell: float = SECONDS_PER_CELL,
    seconds: float = SECONDS_PER_NOTEBOOK,
    ignore: str = "",
) -> dict[int, CellResult]:
    """Execute a notebook and compare with its stored outputs: a result for each code cell.

    `ignore` is what to leave out of the comparison, in the format of --nbval-sanitize-with.
    Skipped cells, and all after one that took too long, have not passed. Cells that were not
    reached when the `seconds` were over are missing.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as room:
        report, patterns = Path(room, "report.xml"), Path(room, "patterns")
        patterns.write_text(ignore, encoding="utf-8")
        command = [
            *(sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env"),
            *(f"--nbval-cell-timeout={seconds_per_cell}", f"--nbval-sanitize-with={patterns}"),
            *(f"--junitxml={report}", f"--rootdir={room}", "-c", os.devnull, "--color=no"),
            *("-p", "no:cacheprovider", str(Path(file).resolve())),
        ]
        # Temporary files go with the room, also those of a kernel that had to be killed.
        environment = {**kernel_environment(), "TMPDIR": room}
        try:
            # The output goes nowhere: a kernel that holds on to it would keep us waiting.
            subprocess.run(
                command, cwd=room, env=environment, timeout=seconds, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {}
        return dict(_results(report))


def _results(report: Path) -> Iterator[tuple[int, CellResult]]:
    timed_out = False
    for case in ElementTree.parse(report).iter("testcase"):
        number = re.fullmatch(r"Cell (\d+)", case.get("name", ""))
        if number is None:
            continue
        text = "\n".join(part.text or part.get("message", "") for part in case)
        bad = any(part.tag in ("failure", "error", "skipped") for part in case)
        reason = _reason(text) if bad else "a cell before it did not end" if timed_out else ""
        timed_out = timed_out or _took_too_long(text)
        yield int(number[1]), CellResult(not reason, reason)


def _took_too_long(text: str) -> bool:
    return re.search(r"^Cell \d+: Timeout of ", text, re.MULTILINE) is not None


def _reason(failure: str) -> str:
    """nbval's report on a failed cell in a few words: the error that was raised, or the kind."""
    if _took_too_long(failure):
        return "it did not end"
    plain = re.sub(r"(\x1b|#x1B)\[[0-9;]*m", "", failure)
    errors = re.findall(r"^(\w*(?:Error|Exception|Interrupt|Exit)\b.*)$", plain, re.MULTILINE)
    if errors:
        return errors[-1][:200]
    what = re.search(r"^(?:Cell \d+|pytest plugin exception): (.+)$", plain, re.MULTILINE)
    return what[1][:200] if what else "it failed"
