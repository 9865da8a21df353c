"""The course's notebooks as files: which exercise stands where, and a learner's saved answers."""

from __future__ import annotations

import ast
import linecache
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils import attempt as attempts
from course_utils import history, weights
from course_utils.answers import Answer, answers
from course_utils.checking import Examination, examine
from course_utils.exercise import Case, exercises, find, variant

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


class UnusableNotebook(ValueError):
    """Why a file cannot be read as a notebook, in one sentence."""


# ---- files and cells ----


def read(path: Path) -> NotebookNode:
    """A notebook file of any version, as version 4. Forgives what Jupyter would complain about."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UnusableNotebook(f"{path} cannot be read: {reason}.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing or double cell ids
            notebook = nbformat.convert(nbformat.reader.reads(text), 4)
        if all(isinstance(cell.source, str) and cell.cell_type for cell in notebook.cells):
            return notebook
    except Exception:  # whatever nbformat meets in a file that is not a notebook
        pass
    raise UnusableNotebook(f"{path} is not a notebook.")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that run; nbval counts these alone."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def title(notebook: NotebookNode) -> str:
    """The first heading; empty if there is none."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = (re.search(r"^# +(.+)$", text, re.MULTILINE) for text in texts)
    return next((heading.group(1).strip() for heading in headings if heading), "")


def exercise_cells(notebook: NotebookNode) -> dict[str, tuple[int, int]]:
    """Where each exercise of a notebook and its check stand, counted in code cells.

    Goes by nbgrader's metadata, or by the code where a tool has stripped that.
    """
    sources = [cell.source.strip() for cell in code_cells(notebook)]
    checks = {name: sources.index(f"check({name})") for name in exercises()
              if f"check({name})" in sources}  # fmt: skip
    found = {}
    for place, cell in enumerate(code_cells(notebook)):
        name = _exercise_of(cell)
        if name in checks:
            found[name] = (place, checks[name])
    return found


def _exercise_of(cell: NotebookNode) -> str:
    grading = cell.metadata.get("nbgrader", {})
    if grading.get("solution"):
        return grading.get("grade_id", "")
    try:
        nodes = ast.parse(cell.source).body
    except SyntaxError:
        return ""
    return nodes[0].name if len(nodes) == 1 and isinstance(nodes[0], ast.FunctionDef) else ""


def notebook_files(folder: Path) -> dict[str, Path]:
    """The course's notebooks in a folder, NN_name.ipynb, by their name without the number."""
    files = sorted(Path(folder).glob("[0-9]*_*.ipynb"))
    return {file.stem.partition("_")[2]: file for file in files}


def kernel_environment() -> dict[str, str]:
    """Environment variables for a kernel that the course starts: the course can be imported.

    Nothing that changes what cells print, nothing from a pytest that is running already, and no
    trace in the history of what the learner has practised.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST") and name not in ("MPLBACKEND", "NBGRADER_EXECUTION")
    }
    paths = [str(NOTEBOOKS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), history.VARIABLE: "off"}


# ---- a learner's saved answers ----


def saved_answer(name: str, folder: Path | None = None) -> tuple[str, Callable | None]:
    """The notebook of an exercise, and the learner's function saved in it; None if there is none.

    Looks beside the running notebook. Never raises and prints nothing.
    """
    file, answer = _saved(name, Path.cwd() if folder is None else folder)
    if not answer.runnable:
        return file, None
    outcome = load(answer, file, folder)
    return file, outcome.value


def _saved(name: str, folder: Path) -> tuple[str, Answer]:
    try:
        module = find(name).module
        file = notebook_files(folder).get(module)
        if file is None:
            return usual_name(module), Answer(name)
        here = [e.name for e in exercises().values() if e.module == module]
        return file.name, answers(read(file), here)[name]
    except (KeyError, UnusableNotebook):
        return f"the notebook of {name}", Answer(name)


def usual_name(module: str) -> str:
    """The file name under which the course ships the notebook of an exercise module."""
    found = sorted((NOTEBOOKS / "source").glob(f"[0-9]*_{module}.md"))
    return f"{found[0].stem if found else module}.ipynb"


_being_loaded: list[str] = []


def load(answer: Answer, file: str, folder: Path | None = None) -> attempts.Outcome:
    """Run a learner's definition in names like a notebook's; the function, or what was raised.

    Never raises. Other exercises that it calls are the learner's own if they pass.
    """

    def define(_: object) -> Callable:
        namespace = _setting()
        for needed in answer.needs:
            namespace[needed] = usable(needed, folder)
        place = f"<{answer.exercise} in {file}>"
        # tf.function reads its function's source, and so does a message about an error.
        linecache.cache[place] = (len(answer.code), None, answer.code.splitlines(True), place)
        exec(compile(answer.code, place, "exec"), namespace)
        return namespace[answer.exercise]

    return attempts.run(define, Case("the definition", lambda run: run(None)))


def _setting() -> dict:
    """The names that a notebook's set-up cell imports; what the learner imports comes on top."""
    from collections.abc import Sequence

    import numpy as np
    import tensorflow as tf

    shared = {k: v for k, v in vars(weights).items() if not k.startswith("_")}
    return {**shared, "np": np, "tf": tf, "Sequence": Sequence, "__name__": "__main__"}


def usable(name: str, folder: Path | None = None) -> Callable:
    """What `use(name)` gives, without a word: the learner's saved function if it passes."""
    if name in _being_loaded:  # two answers that call each other
        return variant(name)
    _being_loaded.append(name)
    try:
        fn = saved_answer(name, folder)[1]
        return variant(name) if fn is None else passing(fn, name)
    finally:
        _being_loaded.pop()


def passing(fn: Callable, name: str) -> Callable:
    """The function itself if it is right, else the reference."""
    return fn if examine(fn, name).state == "passed" else variant(name)


def examine_answer(answer: Answer, file: str, folder: Path | None = None) -> Examination:
    """The judgement of an answer as it stands in a file. Prints nothing and never raises."""
    verdict = judged_unrun(answer)
    if verdict is not None:
        return verdict
    outcome = load(answer, file, folder)
    if outcome.error is None:
        return examine(outcome.value, answer.exercise)
    what = f"{type(outcome.error).__name__}: {attempts.short_message(outcome.error)}"
    if isinstance(outcome.error, attempts.TookTooLong):
        what = f"its cell did not end within {attempts.SECONDS_PER_CASE:g} seconds"
    return Examination(answer.exercise, "crashed", lines=(f"💥 {answer.exercise}: {what}",))


def judged_unrun(answer: Answer) -> Examination | None:
    """The judgement of an answer that cannot or must not be run; None if it can be."""
    if answer.error:
        return Examination(answer.exercise, "crashed", lines=(f"💥 {answer.error}",))
    if answer.borrowed:
        return Examination(answer.exercise, "wrong", lines=(f"❌ {answer.borrowed}",))
    return None if answer.code else Examination(answer.exercise, "not started")


# ---- progress ----


def progress(folder: Path | None = None) -> None:
    """Print which exercises are done, as the notebooks beside the running one were last saved."""
    folder = Path.cwd() if folder is None else folder
    judged = []
    for module, file in notebook_files(folder).items():
        found = list(_judged(module, file, folder))
        if found:
            print(file.stem)
            print("\n".join(f"  {symbol(e)} {e.exercise}: {state_in_words(e)}" for e in found))
        judged += found
    done = sum(e.state == "passed" for e in judged)
    print(f"{done} of {len(judged)} exercises done, in the notebooks as they were last saved.")


def _judged(module: str, file: Path, folder: Path) -> Iterator[Examination]:
    names = [e.name for e in exercises().values() if e.module == module]
    try:
        found = answers(read(file), names)
    except UnusableNotebook as error:
        print(f"{file.stem}: {error}")
        return
    for name in names:
        yield examine_answer(found[name], file.name, folder)


def symbol(examination: Examination) -> str:
    return {"passed": "✅", "not started": "⏳", "crashed": "💥", "wrong": "❌"}[examination.state]


def state_in_words(examination: Examination) -> str:
    """One line: done, to do, or what is wrong, by name if it has one."""
    if examination.state == "passed":
        return "done"
    if examination.state == "not started":
        return "to do"
    if examination.mistakes:
        return f"{examination.state}, {' and '.join(examination.mistakes)}"
    first = examination.lines[0] if examination.lines else ""
    reason = first.lstrip("❌💥 ").removeprefix(f"{examination.exercise}:").strip()
    return f"{examination.state}, {reason}" if reason else examination.state
