"""Scores and proxies as declared in the source, because importing them takes seconds."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

__all__ = ["declared_proxies", "declared_scores"]


def declared_scores() -> list[list[str]]:
    """Return name, needs, kinds of labels, range and reference of each score, in their order."""
    trees = list(_trees("transferability"))
    known = _constants(trees)
    rows, order = {}, []
    for node in _nodes(trees):
        if isinstance(node, ast.Expr) and (call := _call(node.value, "SCORES.arrange")):
            order = ast.literal_eval(call.args[0])
        if isinstance(node, ast.FunctionDef):
            for call in filter(None, (_call(d, "register_score") for d in node.decorator_list)):
                says = {word.arg: _value(word.value, known) for word in call.keywords}
                kinds = ", ".join(says.get("kinds", ["classification"]))
                needs = says["needs"].replace("_", " ")
                rows[node.name] = [node.name, needs, kinds, says["range"], says["reference"]]
    return [rows[name] for name in order]


def declared_proxies() -> list[list[str]]:
    """Return name, labels needed and one-line description of each proxy, in their order."""
    trees = list(_trees("proxies"))
    classes = {node.name: node for node in _nodes(trees) if isinstance(node, ast.ClassDef)}
    built_in = _constants(trees)["_BUILT_IN"]
    return [
        [
            ast.literal_eval(name),
            _required_labels(ast.unparse(value), classes),
            (ast.get_docstring(classes[ast.unparse(value)]) or "").split("\n")[0],
        ]
        for name, value in zip(built_in.keys, built_in.values, strict=True)
    ]


def _required_labels(name: str, classes: dict[str, ast.ClassDef]) -> str:
    """Return the labels that a class needs, as declared by it or by its first base that does."""
    declared = _constants([classes[name]]).get("required_labels")
    if declared is not None:
        return str(ast.literal_eval(declared))
    return _required_labels(ast.unparse(classes[name].bases[0]), classes)


def _trees(room: str) -> Iterator[ast.Module]:
    for file in (Path(__file__).parents[1] / room).glob("*.py"):
        yield ast.parse(file.read_text(encoding="utf-8"))


def _nodes(trees: list[Any]) -> Iterator[ast.stmt]:
    return (node for tree in trees for node in tree.body)


def _constants(trees: list[Any]) -> dict[str, Any]:
    """Return the expressions assigned in some bodies by name."""
    found: dict[str, Any] = {}
    for node in _nodes(trees):
        if isinstance(node, ast.AnnAssign):
            found[ast.unparse(node.target)] = node.value
        elif isinstance(node, ast.Assign):
            found |= {ast.unparse(target): node.value for target in node.targets}
    return found


def _call(node: ast.expr, function: str) -> ast.Call | None:
    """Return a call of this function, None where it is none."""
    is_one = isinstance(node, ast.Call) and ast.unparse(node.func) == function
    return cast("ast.Call", node) if is_one else None


def _value(node: ast.expr, known: dict[str, Any]) -> Any:
    return ast.literal_eval(known[node.id] if isinstance(node, ast.Name) else node)
