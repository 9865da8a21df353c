"""Take a learner's answers out of their notebook, however it looks by now.

A notebook is read as the top-level statements of its code cells, in document order. The answer to
an exercise is the last statement that gives its name a meaning, with everything it needs from
elsewhere in the notebook: imports, helper functions, constants. Nothing is run here.
"""

from __future__ import annotations

import ast
import re
import symtable
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nbformat import NotebookNode

from course_utils import __all__ as VERBS
from course_utils.exercise import exercises, stub

# nbval would obey these comments in a learner's code.
_ORDERS_TO_NBVAL = re.compile(r"#\s*(PYTEST_VALIDATE_IGNORE_OUTPUT|NBVAL_\w+)")
# Code put beside an answer gets at course_utils.notebooks without binding a name there.
ROOM = '__import__("course_utils.notebooks").notebooks'
_MAGICS_THAT_RUN_THE_CELL = ("time", "timeit", "capture", "prun")


@dataclass(frozen=True)
class Answer:
    """A learner's answer to one exercise.

    `code` defines it, with all it needs; empty if not started. `error` tells where the answer's own
    cell is not Python; `borrowed` why it is not the learner's own work; both are usually empty.
    `needs` names the exercises that it calls and does not define.
    """

    exercise: str
    code: str = ""
    error: str = ""
    borrowed: str = ""
    needs: tuple[str, ...] = ()

    @property
    def started(self) -> bool:
        return bool(self.code or self.error)

    @property
    def runnable(self) -> bool:
        return bool(self.code) and not (self.error or self.borrowed)


class Statement(NamedTuple):
    """One top-level statement: its text, the names it binds, and those it needs from outside.

    `now`: needed when it runs. `later`: needed when a function in it is called.
    """

    text: str
    node: ast.stmt
    binds: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]


class Broken(NamedTuple):
    """A cell that is not Python, and where: 'line 3: …'."""

    text: str
    error: str


def answers(notebook: NotebookNode, names: Collection[str]) -> dict[str, Answer]:
    """The answer to each exercise of `names`, all of which stand in this notebook."""
    parts = list(read_code(notebook))
    return {name: _answer(name, parts, names) for name in names}


def defined_exercises(notebook: NotebookNode, names: Collection[str]) -> set[str]:
    """Which of these exercises have a cell here, be it with the stub, an answer, or a typo."""
    return {
        name
        for part in read_code(notebook)
        for name in names
        if _defines(part, name) or (isinstance(part, Statement) and _is_stub(part.node, name))
    }


# ---- a notebook as statements ----


def read_code(notebook: NotebookNode) -> Iterator[Statement | Broken]:
    """The statements of all code cells in document order; a cell with a syntax error as a whole."""
    for cell in notebook.get("cells", ()):
        if cell.get("cell_type") == "code":
            yield from _read_cell(cell.get("source", ""))


def _read_cell(source: str) -> list[Statement | Broken]:
    text = _without_cell_magic(source)
    try:
        return _statements(text)
    except SyntaxError:  # it may be IPython's own: %matplotlib inline, !pip, name?
        pass
    try:
        from IPython.core.inputtransformer2 import TransformerManager

        text = TransformerManager().transform_cell(text)
        return _statements(text)
    except SyntaxError as error:
        lines = text.splitlines() or [""]
        number = min(error.lineno or 1, len(lines))
        return [Broken(text, f"line {number}: {lines[number - 1].strip()} ({error.msg})")]


def _without_cell_magic(source: str) -> str:
    """A cell under `%%time` is still a cell; one under `%%bash` is not Python."""
    first, _, rest = source.lstrip("\n").partition("\n")
    if not first.startswith("%%"):
        return source
    magic = re.match(r"%%(\w*)", first).group(1)
    return f"\n{rest}" if magic in _MAGICS_THAT_RUN_THE_CELL else ""


def _statements(text: str) -> list[Statement | Broken]:
    """SyntaxError if the text is not Python, whichever way it is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what the learner wrote
        try:
            compile(text, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            return [_statement(text, node) for node in ast.parse(text).body]
        except (ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, SyntaxError):
                raise
            raise SyntaxError(str(error)) from None


def _statement(cell: str, node: ast.stmt) -> Statement:
    text = _text(cell, node)
    top = symtable.symtable(text, "<cell>", "exec")
    inner = [s for table in _tables_in(top) for s in table.get_symbols()]
    return Statement(
        text,
        node,
        frozenset(
            s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()
        ),
        frozenset(s.get_name() for s in top.get_symbols() if s.is_referenced()),
        frozenset(s.get_name() for s in inner if s.is_global() and s.is_referenced()),
    )


def _tables_in(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _tables_in(child)


def _text(cell: str, node: ast.stmt) -> str:
    """The statement as it was written, decorators included, without orders to nbval."""
    decorators = getattr(node, "decorator_list", ())
    if decorators:
        lines = cell.splitlines()[decorators[0].lineno - 1 : node.end_lineno]
        text = "\n".join(lines)
    else:
        text = ast.get_source_segment(cell, node)
    return _ORDERS_TO_NBVAL.sub("#", text)


# ---- which statement is the answer ----


def _defines(part: Statement | Broken, name: str) -> bool:
    """Does this give the exercise its meaning? `name = use(name)` and the stub do not."""
    if isinstance(part, Broken):
        definition = rf"^(async\s+)?(def\s+{name}\s*\(|{name}\s*(:[^=\n]*)?=(?!=))"
        return re.search(definition, part.text, re.MULTILINE) is not None
    return name in part.binds and not _is_use(part.node) and not _is_stub(part.node, name)


def _is_use(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    if not (isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(value, ast.Call)):
        return False
    called = value.func
    return "use" in (getattr(called, "id", ""), getattr(called, "attr", ""))


def _is_stub(node: ast.stmt, name: str) -> bool:
    """Nothing was written: it only raises NotImplementedError, or is a specimen's broken code."""
    if not (isinstance(node, ast.FunctionDef) and node.name == name):
        return False
    body = _body(node)
    if list(map(ast.dump, body)) == list(map(ast.dump, _body(ast.parse(stub(name)).body[0]))):
        return True
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" in {
        part.id for part in ast.walk(body[0]) if isinstance(part, ast.Name)
    }


def _body(function: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a function without its docstring."""
    return function.body[ast.get_docstring(function) is not None :]


def _answer(name: str, parts: list[Statement | Broken], here: Collection[str]) -> Answer:
    places = [place for place, part in enumerate(parts) if _defines(part, name)]
    if not places:
        return Answer(name)
    last = parts[places[-1]]
    if isinstance(last, Broken):
        return Answer(name, error=last.error)
    taken = _taken_along(name, places[-1], parts, here)
    own = "\n".join(_code(parts, taken, places[-1]))
    code = "\n".join(_code(parts, taken, places[-1], mended=True)) + "\n"
    return Answer(
        name,
        code + _renamed(last.node, name),
        borrowed=_borrowed(own),
        needs=_needs(own, taken),
    )


# ---- what the answer needs from elsewhere ----


def _taken_along(
    name: str, place: int, parts: list[Statement | Broken], here: Collection[str]
) -> Mapping[int, set[str]]:
    """The places of all statements that the one at `place` needs, with the names needed of each.

    Other exercises of this notebook stay where they are: they are judged, and mended, on their own.
    """
    taken: dict[int, set[str]] = {}
    waiting = [(place, name)]
    while waiting:
        at, wanted = waiting.pop()
        if wanted in taken.setdefault(at, set()):
            continue
        taken[at].add(wanted)
        statement = parts[at]
        needed = [(n, at) for n in statement.now] + [(n, len(parts)) for n in statement.later]
        for needed_name, before in needed:
            if needed_name in here and needed_name != name:
                continue
            if needed_name == name and before == len(parts):
                continue  # it calls itself
            found = _binding(needed_name, before, parts)
            if found is not None:
                waiting.append((found, needed_name))
    return taken


def _binding(name: str, before: int, parts: list[Statement | Broken]) -> int | None:
    """The last statement above `before` that binds the name; the last of all if none is above."""
    places = [
        place
        for place, part in enumerate(parts)
        if isinstance(part, Statement) and name in part.binds and not _is_use(part.node)
    ]
    above = [place for place in places if place < before]
    return (above or places or [None])[-1]


def _code(
    parts: list[Statement | Broken], taken: Mapping[int, set[str]], last: int, mended: bool = False
) -> Iterator[str]:
    """The statements in an order that runs: imports, the rest as in the notebook, the answer.

    `mended`: where the learner made another notebook's exercise anew, it must pass, or the
    reference takes its place, as `use` would do.
    """

    def order(place: int) -> tuple[bool, bool, int]:
        return place == last, not _is_import(parts[place].node), place

    for place in sorted(taken, key=order):
        yield _narrowed(parts[place], taken[place])
        if mended and place != last:
            for other in sorted(taken[place] & exercises().keys() - taken[last]):
                yield f"{other} = {ROOM}.passing({other}, {other!r})"


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _narrowed(statement: Statement, names: set[str]) -> str:
    """An import without what nobody asked for; anything else as it is."""
    if not _is_import(statement.node):
        return statement.text
    node = statement.node
    aliases = [a for a in node.names if (a.asname or a.name.split(".")[0]) in names]
    fields = {"module": node.module, "level": node.level} if hasattr(node, "module") else {}
    return ast.unparse(type(node)(names=aliases, **fields))


def _renamed(node: ast.stmt, name: str) -> str:
    """`check` goes by a function's own name, which a lambda does not have."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return ""
    return f'try:\n    {name}.__name__ = "{name}"\nexcept AttributeError:\n    pass\n'


def _needs(code: str, taken: Mapping[int, set[str]]) -> tuple[str, ...]:
    defined = set().union(*taken.values())
    mentioned = {name for s in _statements(code) for name in s.now | s.later}
    return tuple(sorted(mentioned & exercises().keys() - defined))


# ---- is it the learner's own work? ----


def _borrowed(code: str) -> str:
    """Why this code is not the learner's own; empty if it is. course_utils.weights is for all."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        modules = _imported(node) - {"course_utils.weights"}
        if any(module.split(".")[0] == "course_utils" for module in modules):
            return f"it takes the course's own code: {ast.unparse(node)}"
    for statement in _statements(code):
        for verb in sorted((statement.now | statement.later | statement.binds) & set(VERBS)):
            return f"it takes the course's own code, with {verb!r}"
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and "course_utils" in text and id(node) not in docstrings:
            return f"it reaches into the course's own code: {text[:60]!r}"
    return ""


def _imported(node: ast.AST) -> set[str]:
    """The modules that an import statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    return {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
