"""References and constants of a bundle's configuration, looked up without running anything in it.

`@name#key` stands for another part of the file, `$…` for an expression; of these only literals, arithmetic, a choice
and a few well-known names are understood.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from node.imaging.bundle.terms import NotUnderstood

_REFERENCE = re.compile(r"@([A-Za-z_]\w*(?:(?:#|::)\w+)*)")
_PLACEHOLDER = "reference_"
_DEEPEST = 40
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
#: What a dotted name stands for.
_NAMES: dict[str, Any] = {
    **{f"{module}.{name}": name for module in ("torch", "np", "numpy") for name in ("float32", "float64", "uint8")},
    **{f"torch.{name}": name for name in ("int16", "int32", "int64", "long", "half", "float16")},
    "torch.float": "float32",
    "monai.utils.CommonKeys.IMAGE": "image",
    "monai.utils.CommonKeys.LABEL": "label",
    "monai.utils.CommonKeys.PRED": "pred",
}
_CALLS: dict[str, Callable[..., Any]] = {"float": float, "int": int, "list": list, "tuple": tuple, "bool": bool}


class Constants:
    """The configuration, to be looked up in."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self._configuration = configuration

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section that describes a component.

        Raises:
            NotUnderstood: there is none.
        """
        found = self.value(f"@{name}")
        if not isinstance(found, Mapping):
            raise NotUnderstood(f"there is no section {name}")
        return found

    def value(self, given: Any, depth: int = 0) -> Any:
        """Return what `given` stands for, lists within it included; the arguments of components stay as they are.

        Raises:
            NotUnderstood: it needs code to be run, or names what is not there.
        """
        if depth > _DEEPEST:
            raise NotUnderstood("references go round in a circle")
        if isinstance(given, list | tuple):
            return [self.value(each, depth + 1) for each in given]
        if not isinstance(given, str):
            return given
        if given.startswith("%"):
            raise NotUnderstood(f"{given} refers to another file")
        if whole := _REFERENCE.fullmatch(given):
            return self._referred(whole[1], depth + 1)
        return self._expression(given[1:], depth + 1) if given.startswith("$") else given

    def _referred(self, path: str, depth: int) -> Any:
        found: Any = self._configuration
        for key in re.split(r"#|::", path):
            found = self.value(found, depth) if found is not self._configuration else found
            if isinstance(found, Mapping) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise NotUnderstood(f"@{path} refers to nothing")
        return self.value(found, depth)

    def _expression(self, text: str, depth: int) -> Any:
        paths = _REFERENCE.findall(text)
        numbers = iter(range(len(paths)))
        readable = _REFERENCE.sub(lambda _: f"{_PLACEHOLDER}{next(numbers)}", text)
        try:
            tree = ast.parse(readable.strip(), mode="eval")
            return self._evaluated(tree.body, paths, depth)
        except (SyntaxError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise NotUnderstood(f"${text} is more than a constant") from error

    def _evaluated(self, tree: ast.expr, paths: list[str], depth: int) -> Any:
        def value(inner: ast.expr) -> Any:
            return self._evaluated(inner, paths, depth)

        match tree:
            case ast.Constant():
                return tree.value
            case ast.Name(id=name) if name.startswith(_PLACEHOLDER):
                return self._referred(paths[int(name.removeprefix(_PLACEHOLDER))], depth)
            case ast.List() | ast.Tuple():
                return [value(each) for each in tree.elts]
            case ast.UnaryOp(op=ast.USub()):
                return -value(tree.operand)
            case ast.UnaryOp(op=ast.Not()):
                return not value(tree.operand)
            case ast.BinOp() if type(tree.op) in _OPERATORS:
                return _OPERATORS[type(tree.op)](value(tree.left), value(tree.right))
            case ast.IfExp():
                return value(tree.body if value(tree.test) else tree.orelse)
            case ast.Attribute() if ast.unparse(tree) in _NAMES:
                return _NAMES[ast.unparse(tree)]
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _CALLS:
                return _CALLS[name](*map(value, tree.args))
            case ast.Call(func=ast.Attribute(), args=[only], keywords=[]) if ast.unparse(tree.func) == "copy.deepcopy":
                return value(only)
        raise ValueError(ast.unparse(tree))
