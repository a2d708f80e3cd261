"""Which containers code writes into itself: counters and logs, which are no settings of it."""

import ast
import dis
import inspect
import textwrap
from types import FunctionType
from typing import Any, Final

__all__ = ["is_only_written", "names_written"]

_STORES: Final = {"STORE_SUBSCR", "STORE_ATTR", "DELETE_SUBSCR", "DELETE_ATTR"}
_WRITERS: Final = {"append", "extend", "add", "update", "clear", "insert", "discard"}


def is_only_written(name: str, function: FunctionType) -> bool:
    """Return whether code does nothing with a global but write into it: features cannot see it."""
    tree = _tree(function)
    written = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load)
    } | {id(target) for target in _written_by_calls(tree)}
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
    return bool(uses) and all(id(node) in written for node in uses)


def names_written(function: FunctionType) -> set[str]:
    """Return the names of what code writes items into, directly or through a local name."""
    tree = _tree(function)
    aliases = {
        target.id: _names(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found |= _names(node.value)
    for target in _written_by_calls(tree):
        found |= _names(target)
    return found.union(*(aliases.get(name, set()) for name in found))


def _tree(function: FunctionType) -> ast.AST:
    """Return the syntax of a function that writes something; an empty one where it does not."""
    steps = {step.opname for step in dis.get_instructions(function.__code__)}
    if not steps & _STORES and not _WRITERS & set(function.__code__.co_names):
        return ast.Module([], [])
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module([], [])


def _written_by_calls(tree: ast.AST) -> list[ast.expr]:
    """Return what stands before `.append(...)` and the like, where the result is not used."""
    calls = [n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)]
    heads = [call.func for call in calls if isinstance(call, ast.Call)]
    return [h.value for h in heads if isinstance(h, ast.Attribute) and h.attr in _WRITERS]


def _names(node: Any) -> set[str]:
    """Return the names along `a.b[c].d`: a, b and d."""
    found = set()
    while isinstance(node, ast.Attribute | ast.Subscript):
        found |= {node.attr} if isinstance(node, ast.Attribute) else set()
        node = node.value
    return found | ({node.id} if isinstance(node, ast.Name) else set())
