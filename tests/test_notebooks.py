"""Every notebook in both states: nbval, strict; and the guards that nbval does not give."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from course_utils import build as building
from course_utils.__main__ import main
from course_utils.answers import answers
from course_utils.build import SECONDS_PER_CELL, both_states, build, solved_cell, write
from course_utils.exercise import exercises, source, split_source, stub
from course_utils.notebooks import (
    NOTEBOOKS,
    code_cells,
    examine_answer,
    exercise_cells,
    read,
    title,
)
from course_utils.saved_check import run_nbval

SOURCES = sorted((NOTEBOOKS / "source").glob("*.md"))
LEARNERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLVED = sorted((NOTEBOOKS / "solved").glob("*.ipynb"))


def label(path: Path) -> str:
    return path.stem if path.parent == NOTEBOOKS else f"{path.parent.name}/{path.stem}"


every_source = pytest.mark.parametrize("source", SOURCES, ids=label)
every_learners = pytest.mark.parametrize("file", LEARNERS, ids=label)
every_solved = pytest.mark.parametrize("file", SOLVED, ids=label)
# The training takes longest by far, so it comes first: what is left last should be short.
LONGEST_FIRST = sorted(LEARNERS + SOLVED, key=lambda file: "fine_tuning" not in file.stem)
every_notebook = pytest.mark.parametrize("file", LONGEST_FIRST, ids=label)
every_exercise = pytest.mark.parametrize("name", exercises())


def test_each_source_has_its_two_notebooks() -> None:
    """Nothing below could fail if there were nothing to look at."""
    names = [source.stem for source in SOURCES]
    assert names and names == [f.stem for f in LEARNERS] == [f.stem for f in SOLVED]


# ---- what nbval sees ----


@every_notebook
def test_nbval_finds_every_output_as_it_is_stored(file: Path) -> None:
    cells = run_nbval(file, seconds_per_cell=SECONDS_PER_CELL)
    assert list(cells) == list(range(len(code_cells(read(file)))))
    assert {number: cell.reason for number, cell in cells.items() if not cell.passed} == {}


# ---- what nbval would let pass ----


@every_notebook
def test_every_cell_was_executed_in_order(file: Path) -> None:
    cells = code_cells(read(file))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)


@every_notebook
def test_no_errors_no_warnings_and_no_tags_that_hide_them(file: Path) -> None:
    for cell in code_cells(read(file)):
        assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in cell.outputs)
        assert set(cell.metadata.get("tags", ())) <= {"exercise"}
        assert "NBVAL_" not in cell.source


@every_learners
def test_no_solution_stands_in_a_learners_notebook(file: Path) -> None:
    """Not in a cell and not in an output. Lines that say little, `return weights`, may.

    So may what a specimen's broken code has in common with other code.
    """
    notebook = read(file)
    outputs = [o.get("text", "") for cell in code_cells(notebook) for o in cell.outputs]
    shown = [line.strip() for text in [c.source for c in notebook.cells] + outputs
             for line in text.splitlines()]  # fmt: skip
    bodies = {name: split_source(name)[1] for name in exercises()}
    given = {line.strip() for name in exercises() for line in stub(name).splitlines()}
    given.add("with tf.GradientTape() as tape:")  # how every gradient is taken
    leaked = {(name, line.strip()) for name, body in bodies.items() for line in body.splitlines()
              if len(line.strip()) > 25 and line.strip() in shown
              and line.strip() not in given}  # fmt: skip
    assert not leaked


@every_source
def test_notebooks_are_what_the_source_gives(source: Path) -> None:
    """A rebuild changes no source: cells, ids and metadata are those of a fresh build."""
    for made in both_states(source):
        there = read(made.target)
        assert list(map(parts, there.cells)) == list(map(parts, made.notebook.cells))
        assert there.metadata == made.notebook.metadata


def parts(cell: NotebookNode) -> tuple:
    """What does not come from executing the cell; its outputs are hidden when there are some."""
    metadata = {key: value for key, value in cell.metadata.items() if key != "jupyter"}
    return cell.id, cell.cell_type, cell.source, metadata


@every_learners
def test_outputs_are_hidden_until_the_learner_runs_the_cell(file: Path) -> None:
    first, *others = code_cells(read(file))
    assert "jupyter" not in first.metadata
    for cell in others:
        hidden = cell.metadata.get("jupyter")
        assert hidden == ({"outputs_hidden": True} if cell.outputs else None), cell.source


@every_solved
def test_solved_notebooks_show_their_outputs(file: Path) -> None:
    assert not [cell.source for cell in read(file).cells if "jupyter" in cell.metadata]


@every_source
def test_two_builds_are_the_same(source: Path) -> None:
    assert both_states(source) == both_states(source)


@every_source
def test_both_states_differ_in_the_exercise_cells_alone(source: Path) -> None:
    learners, solved = (made.notebook for made in both_states(source))
    pairs = zip(code_cells(learners), code_cells(solved), strict=True)
    differing = {place for place, (a, b) in enumerate(pairs) if a.source != b.source}
    assert differing == {definition for definition, _ in exercise_cells(solved).values()}
    assert title(learners) and title(learners) == title(solved)


# ---- exercises ----


def test_each_exercise_stands_in_its_own_notebook_and_nowhere_else() -> None:
    found = [(name, file.stem.partition("_")[2]) for file in SOLVED
             for name in exercise_cells(read(file))]  # fmt: skip
    assert sorted(name for name, _ in found) == sorted(exercises())
    assert all(exercises()[name].module == module for name, module in found)


@every_learners
def test_learners_exercises_are_not_started(file: Path) -> None:
    assert states(file) == {name: "not started" for name in exercise_cells(read(file))}
    assert all("⏳" in shown for shown in check_outputs(file))


@every_solved
def test_solved_exercises_pass(file: Path) -> None:
    assert states(file) == {name: "passed" for name in exercise_cells(read(file))}
    assert all("✅" in shown for shown in check_outputs(file))


def states(file: Path) -> dict[str, str]:
    notebook = read(file)
    found = answers(notebook, exercise_cells(notebook))
    return {n: examine_answer(a, file.name, file.parent).state for n, a in found.items()}


def check_outputs(file: Path) -> list[str]:
    notebook = read(file)
    checks = (check for _, check in exercise_cells(notebook).values())
    return ["".join(o.text for o in code_cells(notebook)[check].outputs) for check in checks]


@every_exercise
def test_exercises_are_whole(name: str) -> None:
    exercise = exercises()[name]
    assert len(exercise.hints) >= 3 and all(exercise.hints)
    assert exercise.mistakes and exercise.cases and exercise.compare_with


@every_exercise
def test_nbgrader_makes_the_learners_cell(name: str) -> None:
    """`nbgrader generate_assignment` puts the stub's last line for what the markers enclose.

    It cannot make a specimen's broken code, which is handed out in the learner's notebook.
    """
    head, _, rest = solved_cell(name).partition("    ### BEGIN SOLUTION\n")
    assert rest.endswith("    ### END SOLUTION\n")
    if exercises()[name].broken:
        assert head + rest.removesuffix("    ### END SOLUTION\n") == source(name)
        assert stub(name).startswith(head) and stub(name) != source(name)
        return
    assert head + stub(name).splitlines(keepends=True)[-1] == stub(name)


@every_solved
def test_an_exercise_is_found_without_metadata(file: Path) -> None:
    notebook = read(file)
    places = exercise_cells(notebook)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    assert exercise_cells(notebook) == places


# ---- the build ----

SOURCE = """\
# Is one and one two?

```{code-cell} ipython3
from pathlib import Path

print(1 + 1, sorted(path.name for path in Path().glob("*.ipynb")))
```
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A course of two notebooks without exercises: their kernels start within a second."""
    for name in ("00_one", "01_two"):
        path = tmp_path / "notebooks" / "source" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE)
    return tmp_path / "notebooks"


@pytest.fixture
def unexecuted(monkeypatch) -> None:
    """For tests that do not look at outputs."""
    monkeypatch.setattr(building, "execute", lambda notebook, room, label: None)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.ipynb")}


def test_a_notebook_is_executed_beside_its_neighbours_and_twice_the_same(folder: Path) -> None:
    assert build(["00"], folder) == 0
    first = everything_in(folder)
    assert set(first) == {"00_one.ipynb", "solved/00_one.ipynb"}
    [cell] = code_cells(read(folder / "00_one.ipynb"))
    assert cell.outputs[0].text == "2 ['00_one.ipynb', '01_two.ipynb']\n"
    assert build(["00"], folder) == 0
    assert everything_in(folder) == first


def test_the_kernels_of_a_build_end_in_peace(folder: Path, tmp_path: Path) -> None:
    """A kernel that is left to itself keeps its memory, and one that is killed its files."""
    at_exit = f"import atexit\natexit.register(Path({str(tmp_path / 'ended')!r}).touch)"
    source = f"{SOURCE}\n```{{code-cell}}\n{at_exit}\n```\n"
    (folder / "source" / "00_one.md").write_text(source)
    assert build(["00"], folder) == 0
    assert (tmp_path / "ended").exists()


def test_outputs_are_hidden_in_the_learners_notebook_alone(folder: Path) -> None:
    more = "\n```{code-cell}\nprint(3)\n```\n\n```{code-cell}\nnothing = 0\n```\n"
    (folder / "source" / "00_one.md").write_text(SOURCE + more)
    assert build(["00"], folder) == 0
    learners, solved = (
        code_cells(read(folder / name)) for name in ("00_one.ipynb", "solved/00_one.ipynb")
    )
    assert [cell.metadata for cell in learners] == [{}, {"jupyter": {"outputs_hidden": True}}, {}]
    assert [cell.metadata for cell in solved] == [{}, {}, {}]
    for cell, other in zip(learners, solved, strict=True):
        assert (cell.source, cell.outputs) == (other.source, other.outputs)


def test_an_error_is_told_with_its_place_and_changes_nothing(folder: Path, capsys) -> None:
    assert build(["01"], folder) == 0
    before = everything_in(folder)
    (folder / "source" / "01_two.md").write_text(SOURCE + "\n```{code-cell}\n1 / 0\n```\n")
    assert build(["01"], folder) == 1
    said = capsys.readouterr().err
    assert "notebooks/solved/01_two.ipynb: cell 3 ('1 / 0') failed: ZeroDivisionError" in said
    assert everything_in(folder) == before


@pytest.mark.usefixtures("unexecuted")
def test_an_unknown_notebook_is_refused(folder: Path, capsys) -> None:
    assert build(["07"], folder) == 2
    assert "There is no notebook '07'; there are: 00_one, 01_two." in capsys.readouterr().err


@pytest.mark.usefixtures("unexecuted")
@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("```{code-cell}\n:tags: [exercise]\n\nsoftmaxx\n```\n", "does not name an exercise"),
        ("```{code-cell}\n:tags: [exercise]\n\nsoftmax\n```\n", "must be check(softmax), alone"),
    ],
)
def test_a_fault_in_a_source_is_told_and_the_others_are_built(folder, cells, reason, capsys):
    (folder / "source" / "00_one.md").write_text(SOURCE + cells)
    assert build((), folder) == 1
    assert reason in capsys.readouterr().err
    assert set(everything_in(folder)) == {"01_two.ipynb", "solved/01_two.ipynb"}


def with_an_answer(notebook: NotebookNode) -> None:
    code_cells(notebook)[0].source = "print(2)"


def with_a_note(notebook: NotebookNode) -> None:
    notebook.cells.append(new_markdown_cell("Ask about this."))


def without_metadata(notebook: NotebookNode) -> None:
    with_an_answer(notebook)
    notebook.metadata = NotebookNode()


@pytest.mark.usefixtures("unexecuted")
@pytest.mark.parametrize("change", [with_an_answer, with_a_note, without_metadata])
def test_what_a_learner_wrote_is_never_overwritten(folder: Path, change, capsys) -> None:
    assert build((), folder) == 0
    notebook = read(folder / "00_one.ipynb")
    change(notebook)
    write(notebook, folder / "00_one.ipynb")
    before = (folder / "00_one.ipynb").read_bytes()
    (folder / "source" / "00_one.md").write_text(f"{SOURCE}\nA better text.\n")
    assert build((), folder) == 1
    said = capsys.readouterr().err
    assert said.startswith("1 notebook holds your work and was kept: notebooks/00_one.ipynb; the r")
    assert (folder / "00_one.ipynb").read_bytes() == before
    assert "A better text." in (folder / "solved" / "00_one.ipynb").read_text()


@pytest.mark.usefixtures("unexecuted")
def test_what_was_kept_is_told_last_and_the_rest_is_built(folder: Path, capsys) -> None:
    for path in ("00_one.ipynb", "solved/01_two.ipynb"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("mine")
    assert build((), folder) == 1
    said = capsys.readouterr()
    built = sorted(said.out.splitlines())
    assert built == ["built notebooks/01_two.ipynb", "built notebooks/solved/00_one.ipynb"]
    assert said.err.startswith(
        "2 notebooks hold your work and were kept: notebooks/00_one.ipynb, "
        "notebooks/solved/01_two.ipynb; the rest is built.\n"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["check", "-h"]])
def test_help_is_no_name_of_a_notebook(arguments: list[str], capsys) -> None:
    assert main(arguments) == 0
    assert "build [NAME" in capsys.readouterr().out


@pytest.mark.usefixtures("unexecuted")
def test_a_file_that_cannot_be_read_is_not_overwritten(folder: Path) -> None:
    (folder / "00_one.ipynb").write_text("<<<<<<< mine")
    assert build((), folder) == 1
    assert (folder / "00_one.ipynb").read_text() == "<<<<<<< mine"


@pytest.mark.usefixtures("unexecuted")
def test_running_a_notebook_is_no_work_of_ones_own(folder: Path) -> None:
    assert build((), folder) == 0
    notebook = read(folder / "00_one.ipynb")
    code_cells(notebook)[0].execution_count = 9
    notebook.cells.append(new_code_cell(""))  # JupyterLab adds one below the last
    write(notebook, folder / "00_one.ipynb")
    (folder / "source" / "00_one.md").write_text(f"{SOURCE}\nA better text.\n")
    assert build((), folder) == 0
    assert "A better text." in (folder / "00_one.ipynb").read_text()
