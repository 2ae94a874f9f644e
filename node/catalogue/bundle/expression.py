"""`$` expressions of a configuration: Python of which only what computes shapes, types and functions is let through."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

from node.catalogue.bundle import components

#: By this name MONAI hands an expression what it refers to: `@image_size` becomes `__local_refs['image_size']`.
REFERENCES = "__local_refs"
_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_LONGEST = 2000
_LARGEST_EXPONENT = 16
_NODES = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice),
    *(ast.Call, ast.keyword, ast.Starred, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.Lambda, ast.arguments, ast.arg),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.IfExp),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_BUILTINS = frozenset(
    {
        *("abs", "all", "any", "bool", "dict", "enumerate", "float", "int", "len", "list", "map", "max", "min"),
        *("range", "reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip"),
    }
)
#: Modules that MONAI gives to every expression, with what may be asked of them beside its parts.
_MODULES: dict[str, frozenset[str]] = {
    "torch": frozenset(
        {
            *("device", "cuda.is_available", "cuda.device_count", "dtype", "Generator"),
            *("bfloat16", "bool", "double", "float", "float16", "float32", "float64", "half", "int", "int16"),
            *("int32", "int64", "int8", "long", "short", "uint8"),
            *("abs", "amax", "amin", "any", "all", "arange", "argmax", "cat", "clamp", "clip", "exp", "flip"),
            *(
                "full_like",
                "isnan",
                "linspace",
                "log",
                "logical_and",
                "logical_not",
                "logical_or",
                "max",
                "mean",
                "min",
            ),
            *(
                "movedim",
                "nan_to_num",
                "ones",
                "ones_like",
                "permute",
                "relu",
                "reshape",
                "round",
                "sigmoid",
                "softmax",
            ),
            *("sqrt", "squeeze", "stack", "std", "sum", "swapaxes", "tanh", "tensor", "transpose", "unsqueeze"),
            *("where", "zeros", "zeros_like"),
        }
    ),
    "numpy": frozenset(
        {
            *("bool_", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "uint16", "uint32"),
            *("uint64", "uint8", "pi", "inf", "nan", "newaxis", "e"),
            *("abs", "arange", "argmax", "array", "asarray", "clip", "concatenate", "cos", "exp", "eye", "linspace"),
            *("log", "max", "mean", "min", "ones", "percentile", "prod", "sin", "sqrt", "stack", "std", "sum", "where"),
            "zeros",
        }
    ),
    "monai": frozenset(
        f"utils.CommonKeys.{key}" for key in ("IMAGE", "LABEL", "PRED", "LOSS", "METADATA", "IMAGE_META", "LABEL_META")
    ),
}
_MODULES["np"] = _MODULES["numpy"]
#: What may be asked of anything else: of networks, arrays, texts, transforms and detectors.
_ATTRIBUTES = frozenset(
    {
        *("to", "cpu", "eval", "float", "half", "bfloat16", "type", "astype", "requires_grad_"),
        *("dtype", "device", "shape", "ndim", "size", "dim", "T", "item", "tolist"),
        *("abs", "all", "any", "argmax", "clamp", "clip", "exp", "flatten", "flip", "log", "max", "mean", "min"),
        *("movedim", "nan_to_num", "permute", "reshape", "round", "sigmoid", "softmax", "sqrt", "squeeze", "std"),
        *("sum", "transpose", "unsqueeze", "view"),
        *("get", "items", "keys", "values", "index", "count", "copy"),
        *("lower", "upper", "strip", "split", "replace", "startswith", "endswith", "join"),
        *("transforms", "roi_size", "overlap", "sw_batch_size"),
        *("set_target_keys", "set_box_selector_parameters", "set_sliding_window_inferer", "set_timesteps"),
        *("anchor_generator", "network"),
    }
)
_TAKEN = frozenset(dir(builtins)) | _MODULES.keys()


def references(text: str) -> list[str]:
    """Return the ids that `text` refers to: the whole of it is one `@id`, or it is an expression with some in it."""
    text = text.replace("#", "::")
    found = _REFERENCE.findall(text)
    return [each[1:] for each in found if text.startswith("$") or text == each]


def complaints(text: str) -> list[str]:
    """Return what an expression (`text` begins with `$`) does that the gate does not let through; none if harmless."""
    if len(text) > _LONGEST:
        return [f"is longer than {_LONGEST} characters"]
    if REFERENCES in text:
        return [f"names {REFERENCES}"]
    try:
        # `eval` passes over blanks that stand in front.
        tree = ast.parse(_as_evaluated(text).lstrip(" \t"), mode="eval")
        return list(dict.fromkeys(_judge(tree)))
    except (SyntaxError, ValueError):
        return ["is no expression"]
    except (RecursionError, MemoryError):
        return ["is nested too deeply"]


def _judge(tree: ast.Expression) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    yield from (f"gives the name {name} another meaning" for name in sorted(bound & _TAKEN))
    yield from (f"uses the name {name}" for name in sorted(bound) if name.startswith("__"))
    yield from _walk(tree, bound)


def _as_evaluated(text: str) -> str:
    """Return the text that MONAI evaluates: each reference, the longer ones first, is replaced wherever it stands."""
    text = text.removeprefix("$").replace("#", "::")
    for each in sorted(_REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(each, f"{REFERENCES}['{each[1:]}']")
    return text


def _walk(node: ast.AST, bound: set[str]) -> Iterator[str]:
    if not isinstance(node, _NODES):
        yield f"holds Python that is not let through ({type(node).__name__})"
        return
    dotted = _dotted(node)
    if dotted is not None:
        yield from _judge_dotted(dotted, bound)
        return
    if isinstance(node, ast.Attribute) and node.attr not in _ATTRIBUTES:
        yield f"asks for .{node.attr}"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and not _is_small(node.right):
        yield "raises to a power that is not a small number"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult | ast.LShift):
        yield f"holds Python that is not let through ({type(node.op).__name__})"
    if isinstance(node, ast.Subscript) and _is_references(node.value):
        if not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str) and node.slice.value):
            yield "refers to the whole configuration"
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, bound)


def _judge_dotted(parts: list[str], bound: set[str]) -> Iterator[str]:
    """Judge a name, with the attributes that are asked of it."""
    first, rest = parts[0], parts[1:]
    if first in bound and first not in _TAKEN:
        yield from (f"asks for .{part}" for part in rest if part not in _ATTRIBUTES)
    elif first in _MODULES:
        path = ".".join(rest)
        if path not in _MODULES[first] and (not path or components.resolved(f"{first}.{path}") is None):
            yield f"names {'.'.join(parts)}"
    elif first in _BUILTINS and not rest:
        return
    else:
        yield f"names {'.'.join(parts)}"


def _dotted(node: ast.AST) -> list[str] | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else None


def _is_references(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == REFERENCES


def _is_small(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant) and isinstance(node.value, int | float) and abs(node.value) <= _LARGEST_EXPONENT
    )
