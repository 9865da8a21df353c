"""Make the notebooks that learners open, and the solved ones, from what authors write.

An author writes notebooks/source/NN_name.md, in which an exercise cell holds only the exercise's
name. The build puts the stub or the reference there, executes both notebooks and keeps the outputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import ipykernel.kernelspec
import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from course_utils.exercise import exercises, split_source, stub
from course_utils.notebooks import NOTEBOOKS, UnusableNotebook, kernel_environment, read

SECONDS_PER_CELL = 600  # a training of notebook 05, on a slow machine
KERNELS_AT_ONCE = 2  # each takes half a gigabyte and a core


class BuildError(Exception):
    """What is wrong with a source or in the execution of a notebook, in one sentence."""


class Made(NamedTuple):
    """A generated notebook and where it belongs."""

    notebook: NotebookNode
    target: Path
    source: Path

    @property
    def label(self) -> str:
        return self.target.relative_to(self.source.parents[2]).as_posix()

    @property
    def solved(self) -> bool:
        return self.target.parent.name == "solved"


def build(names: Sequence[str] = (), folder: Path = NOTEBOOKS) -> int:
    """Build the notebooks of these names (all if none); say what was done; 0 if all went well."""
    try:
        wanted_sources = _chosen(sources(folder), names)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    everything, faults = _generated(sources(folder))
    wanted = [made for made in everything if made.source in wanted_sources]
    kept = [made for made in wanted if holds_own_work(made)]
    to_build = [made for made in wanted if made not in kept]
    with tempfile.TemporaryDirectory() as elsewhere:
        for made in everything:  # executed notebooks read their neighbours, so all are there first
            write(made.notebook, _moved(made, folder, Path(elsewhere)))
        with ThreadPoolExecutor(KERNELS_AT_ONCE) as pool:
            rooms = [_moved(made, folder, Path(elsewhere)).parent for made in to_build]
            built = list(pool.map(_built, to_build, rooms))
    whole = all(built) and not any(source in wanted_sources for source in faults)
    if kept:
        _tell_kept(kept, whole and bool(to_build))
    return int(bool(kept) or not whole)


def _generated(written: list[Path]) -> tuple[list[Made], set[Path]]:
    """All notebooks, not executed, and the sources that have a fault, which is told."""
    made, faults = [], set()
    for source in written:
        try:
            made += both_states(source)
        except BuildError as error:
            print(error, file=sys.stderr)
            faults.add(source)
    return made, faults


def _built(made: Made, room: Path) -> bool:
    """Build one notebook. False, after a sentence that says why, if that did not work."""
    try:
        execute(made.notebook, room, made.label)
    except BuildError as error:
        print(f"{error}\nThe old {made.label}, if there is one, was left alone.", file=sys.stderr)
        return False
    if not made.solved:
        hide_outputs(made.notebook)
    write(made.notebook, made.target)
    print(f"built {made.label}", flush=True)
    return True


def _tell_kept(kept: list[Made], whole: bool) -> None:
    """Last, where it is seen: which notebooks were not built, and whether that is all."""
    holds = "1 notebook holds" if len(kept) == 1 else f"{len(kept)} notebooks hold"
    print(
        f"{holds} your work and {'was' if len(kept) == 1 else 'were'} kept: "
        f"{', '.join(made.label for made in kept)}{'; the rest is built' if whole else ''}.\n"
        "To have the course's again: rename yours or move it elsewhere, then build.",
        file=sys.stderr,
    )


# ---- generate ----


def sources(folder: Path = NOTEBOOKS) -> list[Path]:
    """What authors wrote, in the order of the course."""
    found = sorted((folder / "source").glob("[0-9]*.md"))
    if not found:
        raise BuildError(f"There is no NN_name.md in {folder / 'source'}.")
    return found


def both_states(source: Path) -> tuple[Made, Made]:
    """The learner's notebook and the solved one, not executed."""
    folder, name = source.parents[1], f"{source.stem}.ipynb"
    return (
        Made(generate(source), folder / name, source),
        Made(generate(source, solved=True), folder / "solved" / name, source),
    )


def generate(source: Path, solved: bool = False) -> NotebookNode:
    """The notebook that a source describes, not executed. The same source gives the same bytes."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="md:myst")
    _name_cells(notebook, source.stem)
    for name, cell in _exercise_cells(notebook, source.stem):
        cell.source = (solved_cell(name) if solved else stub(name)).rstrip("\n")
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
            "course": {"notebook": source.stem, "generated": fingerprint(notebook)},
        }
    )
    return notebook


def _name_cells(notebook: NotebookNode, stem: str) -> None:
    """Give each cell an id that depends only on what its author wrote."""
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        text = f"{stem} {cell.cell_type} {cell.source}"
        seen[text] += 1
        cell.id = hashlib.sha256(f"{text} {seen[text]}".encode()).hexdigest()[:12]


def _exercise_cells(notebook: NotebookNode, stem: str) -> list[tuple[str, NotebookNode]]:
    """Exercise cells with their exercise's name; they and their check cells get their metadata."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    for place, cell in enumerate(code):
        if "exercise" not in cell.metadata.get("tags", ()):
            continue
        name = cell.source.strip()
        if name not in exercises():
            raise BuildError(f"{stem}: the exercise cell {name!r} does not name an exercise.")
        following = code[place + 1] if place + 1 < len(code) else None
        if following is None or following.source.strip() != f"check({name})":
            raise BuildError(f"{stem}: the code cell after {name} must be check({name}), alone.")
        cell.metadata["nbgrader"] = _nbgrader(name, solution=True)
        following.metadata["nbgrader"] = _nbgrader(f"{name}-check", solution=False)
        found.append((name, cell))
    return found


def _nbgrader(grade_id: str, solution: bool) -> dict:
    """nbgrader's cell metadata, version 3: a cell to write in, or the one that gives the point."""
    points = {} if solution else {"points": 1}
    return {
        "grade": not solution, "grade_id": grade_id, "locked": not solution,
        "schema_version": 3, "solution": solution, "task": False, **points,
    }  # fmt: skip


def solved_cell(name: str) -> str:
    """The reference between nbgrader's markers.

    `nbgrader generate_assignment` makes the learner's cell of it when its configuration says
    `c.ClearSolutions.code_stub = {"python": LINE}`, where LINE is the last line of the stub.
    """
    head, body = split_source(name)
    return f"{head}    ### BEGIN SOLUTION\n{body.rstrip()}\n    ### END SOLUTION\n"


# ---- never overwrite what a learner wrote ----


def fingerprint(notebook: NotebookNode) -> str:
    """A hash of what stands in the cells; outputs, ids and empty cells do not count."""
    cells = [(c.get("cell_type"), c.get("source", "").strip()) for c in notebook.cells]
    text = json.dumps([cell for cell in cells if cell[1]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def holds_own_work(made: Made) -> bool:
    """Is there a file in the way that the build did not make, or that somebody wrote into?"""
    if not made.target.exists():
        return False
    try:
        there = read(made.target)
    except UnusableNotebook:
        return True
    generated = there.metadata.get("course", {}).get("generated")
    return fingerprint(there) not in (generated, fingerprint(made.notebook))


# ---- execute ----


class _ThisPython(KernelSpecManager):
    """The kernel of the Python that runs the build, whatever else is installed as "python3"."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            resource_dir=ipykernel.kernelspec.RESOURCES, **ipykernel.kernelspec.get_kernel_dict()
        )


def execute(notebook: NotebookNode, room: Path, label: str) -> None:
    """Run every cell in the folder `room` and keep the outputs. BuildError if one fails."""
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=_ThisPython()),
        timeout=SECONDS_PER_CELL,
        resources={"metadata": {"path": str(room)}},
        record_timing=False,  # a time in the metadata would make every build differ
        store_widget_state=False,  # so would the random ids of widgets
        coalesce_streams=True,  # how a text is cut into messages is chance
    )
    try:
        # What the kernel's process itself writes is no output of a cell. And nbclient leaves a
        # kernel running whose manager it was given, unless it is told to clean up.
        client.execute(cleanup_kc=True, env=kernel_environment(), stderr=subprocess.DEVNULL)
    except CellTimeoutError:
        raise BuildError(
            f"{label}: {_place(notebook)} did not end within {SECONDS_PER_CELL} seconds."
        ) from None
    except (CellExecutionError, DeadKernelError) as error:
        reason = getattr(error, "ename", ""), getattr(error, "evalue", "") or str(error)
        raise BuildError(f"{label}: {_place(notebook)} failed: {': '.join(filter(None, reason))}") \
            from None  # fmt: skip
    notebook.metadata["language_info"] = {"name": "python"}  # the same whatever the Python


def _place(notebook: NotebookNode) -> str:
    """Which cell failed: the last that was started, by number and first line."""
    started = [
        (number, cell)
        for number, cell in enumerate(notebook.cells, 1)
        if cell.cell_type == "code" and (cell.execution_count or cell.outputs)
    ]
    if not started:
        return "the first cell"
    number, cell = started[-1]
    return f"cell {number} ({cell.source.splitlines()[0]!r})"


def hide_outputs(notebook: NotebookNode) -> None:
    """Fold the outputs below all code cells but the first, the set-up; JupyterLab unfolds a cell's
    when it is run.

    Otherwise the answer would stand below each "Predict". Of a text JupyterLab still shows the
    first line, in grey. The outputs stay in the file: nbval compares them, and GitHub shows them.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code[1:]:
        if cell.outputs:
            cell.metadata["jupyter"] = {"outputs_hidden": True}


# ---- files ----


def write(notebook: NotebookNode, path: Path) -> None:
    """Write the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def _moved(made: Made, folder: Path, elsewhere: Path) -> Path:
    return elsewhere / folder.name / made.target.relative_to(folder)


def _chosen(written: list[Path], names: Sequence[str]) -> list[Path]:
    """The sources of these names: 00, 00_start_here, or the path of a notebook; all if none."""
    chosen = []
    for name in names:
        wanted = Path(name).name.split(".")[0]
        found = [s for s in written if wanted in (s.stem, s.stem.split("_")[0])]
        if not found:
            known = ", ".join(source.stem for source in written)
            raise BuildError(f"There is no notebook {name!r}; there are: {known}.")
        chosen += found
    return chosen or written
