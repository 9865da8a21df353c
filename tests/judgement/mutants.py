"""Small changes of the references, made by machine: an operator, a number, an argument.

Each mutant differs from a reference in one place and is named by what was there and what stands
there now, so that its name survives edits elsewhere.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

from course_utils.exercise import source, variant

SWAPPED = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of this expression."""
    if isinstance(node, (ast.BinOp, ast.BoolOp)):
        for operator in SWAPPED.get(type(node.op), ()):
            yield _with(node, op=operator())
    if isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
    if isinstance(node, ast.Compare):
        for operator in SWAPPED.get(type(node.ops[0]), ()):
            yield _with(node, ops=[operator(), *node.ops[1:]])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield node.operand
    if isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)
    if isinstance(node, ast.Constant):
        yield from map(ast.Constant, _other_constants(node.value))
    if isinstance(node, ast.Call):
        for i in range(len(node.keywords)):
            yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
        plain = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
        yield from plain[:1]  # the call dropped: only what it was applied to
        if len(plain) > 1 and plain == node.args:
            yield _with(node, args=[plain[1], plain[0], *plain[2:]])
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        yield node.value


def _other_constants(value: object) -> tuple:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, (int, float)):
        return (value + 1, value - 1)
    return ()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


@cache
def mutants(name: str) -> dict[str, Callable]:
    """Every mutant of the reference of this exercise, by its description."""
    tree = ast.parse(source(name))
    seen: Counter = Counter()
    made = {}
    for place, node in enumerate(_expressions(tree)):
        for number, new in enumerate(replacements(node)):
            text = f"{ast.unparse(node)} → {ast.unparse(new)}"
            seen[text] += 1
            key = text if seen[text] == 1 else f"{text} #{seen[text]}"
            made[key] = _compiled(name, _mutated(tree, place, number))
    return made


def _expressions(tree: ast.AST) -> list[ast.AST]:
    """The expressions of a function that are run: no annotation, no docstring."""
    function = tree.body[0]
    code = [*function.args.defaults, *filter(None, function.args.kw_defaults), *function.body[1:]]
    return [node for part in code for node in ast.walk(part) if isinstance(node, ast.expr)]


def _mutated(tree: ast.AST, place: int, number: int) -> ast.AST:
    tree = copy.deepcopy(tree)
    old = _expressions(tree)[place]
    new = list(replacements(old))[number]

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return new if node is old else self.generic_visit(node)

    return ast.fix_missing_locations(Swap().visit(tree))


def _compiled(name: str, tree: ast.AST) -> Callable:
    namespace = dict(variant(name).__globals__)
    code = "from __future__ import annotations\n" + ast.unparse(tree)
    exec(compile(code, f"<mutant of {name}>", "exec"), namespace)
    return namespace[name]
