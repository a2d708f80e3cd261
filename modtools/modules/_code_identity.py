"""A text that identifies an object and everything that its code reads, in every process alike.

What a function computes depends on more than its source: on constants of its module, on helper
functions, on attributes of modules and classes, on defaults and outer variables. All of these are
followed through the user's code, by the names in the compiled code; installed packages are
identified by name and version. Whatever cannot be identified is an error, never a guess.
"""

import ast
import dis
import hashlib
import importlib
import inspect
import io
import os
import re
import sys
import textwrap
import types
import weakref
import zipfile
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Set,
)
from enum import Enum
from functools import partial
from importlib.util import resolve_name
from logging import Logger
from pathlib import PurePath
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from modtools.exceptions import ModtoolsError
from modtools.modules._one_path import own_to_torch

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Reader", "installed", "is_scalar", "qualified"]

_SCALARS: Final = (bool, int, float, complex, str, bytes, type(None), type(...))
_STORES: Final = {"STORE_SUBSCR", "STORE_ATTR", "DELETE_SUBSCR", "DELETE_ATTR"}
_WRITERS: Final = {"append", "extend", "add", "update", "clear", "insert", "discard"}
_LOADS: Final = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
# With these any attribute may be read, whose name is not in the code.
_ANY_NAME: Final = {"getattr", "vars", "dir", "__dict__", "attrgetter", "methodcaller"}
# These read from outside the program: files, the environment, code from strings.
_OUTSIDE_BUILTINS: Final = {"__import__", "compile", "eval", "exec", "input", "open"}
_READ_FILES: Final = {"fromfile", "genfromtxt", "imread", "load", "loadtxt", "open", "read_csv"}
_OUTSIDE: Final = _READ_FILES | {"getenv", "import_module", "read_image"}
_OUTSIDE_METHODS: Final = {"read_bytes", "read_text"}
_NOT_CALLED: Final = {"__init__", "__new__", "__post_init__", "__repr__", "__str__", "__del__"}
_OF_CLASSES: Final = {"__annotations__", "__dict__", "__doc__", "__weakref__", "_abc_impl"}
_OF_MODULES: Final = {"__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__spec__"}
_STATELESS: Final = (type(Lock()), type(RLock()))
_NAMED: Final = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


_PLAIN_COPY: Final[Any] = object().__reduce_ex__(2)[0]


def qualified(value: Any) -> str:
    """Return module and name of a class or function."""
    return f"{value.__module__}.{value.__qualname__}"


def installed(module: str) -> str | None:
    """Return name and version of an installed package that a module belongs to; None for others.

    >>> installed("math") == installed("os.path"), installed("__main__")
    (True, None)
    """
    top = module.partition(".")[0]
    if top == "__main__":
        return None
    if top in sys.stdlib_module_names:
        return f"python {sys.version_info[:3]}"
    found = sys.modules.get(top)
    place = getattr(found, "__file__", None) or next(iter(getattr(found, "__path__", ())), "")
    if top == "modtools" or {"site-packages", "dist-packages"} & set(PurePath(place).parts):
        return f"{top} {getattr(found, '__version__', '')}"
    return None


def is_scalar(value: Any) -> bool:
    """Return whether the `repr` of a value identifies it: a number, a text, a dtype.

    >>> is_scalar(1.5), is_scalar([1.5])
    (True, False)
    """
    import torch

    return isinstance(value, (*_SCALARS, torch.dtype))


class Reader:
    """Collects the texts of objects, and of everything that their code reads."""

    def __init__(self) -> None:
        self.found: list[str] = []  # texts of what the code reads, in the order of reading
        self._open: list[int] = []  # objects that contain the one being read; cycles refer to them
        self._known: dict[
            int, tuple[str, Any]
        ] = {}  # the object is kept too, so that its id is not reused
        self._names: set[str] = {"__call__", "forward", "__getattr__"}
        self._any_name = False
        self._scopes: dict[int, tuple[Any, bool]] = {}
        self._done: set[tuple[int, str]] = set()

    def all_texts(self, *values: Any) -> str:
        """Return the texts of values and of everything that their code reads.

        Raises
        ------
        ModtoolsError
            Something cannot be identified.
        """
        try:
            texts = [self.text(value) for value in values]
            self._follow()
        except RecursionError as error:
            raise ModtoolsError("its objects are nested too deep") from error
        return "\0".join([*texts, *self.found])

    def text(self, value: Any) -> str:
        """Return the text of one value."""
        if isinstance(value, Enum):
            return f"{qualified(type(value))}.{value.name} {self.text(value.value)}"
        if is_scalar(value):
            return repr(value)
        if id(value) in self._known:
            return self._known[id(value)][0]
        if id(value) in self._open:
            return f"<{len(self._open) - self._open.index(id(value))} up>"
        self._open.append(id(value))
        try:
            text = self._text(value)
        finally:
            self._open.pop()
        self._known[id(value)] = (text, value)
        return text

    def _text(self, value: Any) -> str:
        from torch import Tensor, nn

        readers: Iterable[tuple[Any, Callable[[Any], str]]] = (
            (Tensor, _tensor),
            (np.generic, lambda number: f"{number.dtype} {number.tobytes().hex()}"),
            (np.ndarray, self._array),
            (Mapping, self._mapping),
            ((tuple, list), self._sequence),
            (Set, lambda items: f"{qualified(type(items))} {sorted(map(self.text, items))}"),
            (types.ModuleType, self._module),
            (type, lambda found: self._class(found, made=True)),
            (types.FunctionType, self._function),
            (types.MethodType, lambda bound: self._pair(bound.__func__, bound.__self__)),
            (types.MethodWrapperType, lambda bound: bound.__name__ + self.text(bound.__self__)),
            (types.BuiltinFunctionType, self._builtin),
            (_NAMED, lambda found: f"{type(found).__name__} {found.__qualname__}"),
            (types.CellType, self._cell),
            ((staticmethod, classmethod), lambda found: self.text(found.__func__)),
            (property, lambda found: str([self.text(f) for f in (found.fget, found.fset)])),
            (nn.Module, lambda network: str(list(self._network_texts(network)))),
            (weakref.ReferenceType, lambda reference: self.text(reference())),
            (Logger, lambda logger: f"logger {logger.name}"),
            (_STATELESS, lambda lock: type(lock).__name__),
        )
        return next((r(value) for kind, r in readers if isinstance(value, kind)), None) or (
            self._object(value)
        )

    def _array(self, array: Any) -> str:
        if array.dtype.hasobject:
            return f"{array.shape} {[self.text(item) for item in array.ravel().tolist()]}"
        more = self.text(np.ma.getmaskarray(array)) if isinstance(array, np.ma.MaskedArray) else ""
        digest = hashlib.sha256(np.asarray(array).tobytes()).hexdigest()
        return f"{array.dtype}{array.shape}{digest}{more}"

    def _mapping(self, items: Mapping[Any, Any]) -> str:
        if isinstance(items, type(os.environ)):
            raise ModtoolsError("its code reads the environment")
        pairs = [f"{self.text(key)}: {self.text(item)}" for key, item in items.items()]
        return f"{qualified(type(items))} {pairs} {self._attributes(items)}"

    def _sequence(self, items: Any) -> str:
        return f"{qualified(type(items))} {[self.text(i) for i in items]} {self._attributes(items)}"

    def _pair(self, first: Any, second: Any) -> str:
        return f"{self.text(first)} of {self.text(second)}"

    def _builtin(self, function: Any) -> str:
        owner = function.__self__
        if function.__name__ in _OUTSIDE and not isinstance(owner, dict | list | tuple):
            raise ModtoolsError(f"its code may call {function.__name__}")
        if owner is None or isinstance(owner, types.ModuleType):
            return f"{function.__module__}.{function.__qualname__}"
        return f"{function.__qualname__} of {self.text(owner)}"

    def _cell(self, cell: Any) -> str:
        try:
            return self.text(cell.cell_contents)
        except ValueError as error:
            if isinstance(error, ModtoolsError):
                raise
            return "empty"

    def _module(self, module: types.ModuleType) -> str:
        self._scopes.setdefault(id(module), (module, True))
        return f"module {module.__name__} {installed(module.__name__)}"

    def _class(self, found: type, *, made: bool) -> str:
        """Read a class by the names that code uses, and its constructor if code may call it."""
        package = installed(found.__module__)
        if package is None:
            for base in found.__mro__:
                if installed(base.__module__) is None:
                    known = self._scopes.get(id(base), (base, False))[1]
                    self._scopes[id(base)] = (base, made or known)
        return f"{qualified(found)} {package} {[qualified(base) for base in found.__mro__]}"

    def _network_texts(self, network: "nn.Module") -> Iterator[str]:
        """Yield class, plain attributes, hooks, parameters and buffers of every part."""
        import torch

        for name, part in network.named_modules(remove_duplicate=False):
            plain = {key: value for key, value in vars(part).items() if key not in own_to_torch()}
            if isinstance(part, torch.jit.ScriptModule):
                plain = {"script": _script(part)}
            hooks = [*part._forward_pre_hooks.values(), *part._forward_hooks.values()]
            head = f"{name} {self._class(type(part), made=False)}"
            yield f"{head} {self._attribute_text(plain)} {[self.text(hook) for hook in hooks]}"
        for kind in (network.named_parameters, network.named_buffers):
            for name, tensor in kind():
                yield f"{name} {_tensor(tensor)}"

    def _attribute_text(self, attributes: Mapping[str, Any]) -> str:
        return str([f"{key}: {self.text(attributes[key])}" for key in sorted(attributes)])

    def _attributes(self, value: Any) -> str:
        return self._attribute_text(vars(value)) if getattr(value, "__dict__", None) else ""

    def _object(self, value: Any) -> str:
        """Read the state by which an object would be copied, and its attributes."""
        if type(value).__module__.startswith("torch._dynamo"):
            return qualified(type(value))  # compilation does not change what a network computes
        kind, attributes = type(value), self._attributes(value)
        try:
            parts = value.__reduce_ex__(2)
        except Exception as error:
            raise ModtoolsError(
                f"it holds a {qualified(kind)}, which has no known state"
            ) from error
        text = f"{self._class(kind, made=False)} {attributes}"
        if isinstance(parts, str):  # the name of a global
            return f"{text} {getattr(value, '__module__', '')} {parts}"
        contents = [list(part) if isinstance(part, Iterator) else part for part in parts]
        if contents[0] is _PLAIN_COPY:  # the class and the attributes have been read
            state = None if isinstance(contents[2], dict) else contents[2]
            contents = [contents[1][1:], state, *contents[3:]]
        return f"{text} {[self.text(part) for part in contents]}"

    def _function(self, function: types.FunctionType) -> str:
        outer = list(function.__closure__ or ())
        package = installed(function.__globals__.get("__name__") or "")
        if package is not None:
            if function.__name__ in _OUTSIDE:
                raise ModtoolsError(f"its code may call {qualified(function)}")
            inner = [self._cell(cell) for cell in outer if _holds_code(cell)]
            return f"{qualified(function)} {package} {inner}"
        code = self._code(function.__code__, function)
        given = [function.__defaults__, function.__kwdefaults__, vars(function), *outer]
        return f"{qualified(function)} {code} {[self.text(part) for part in given]}"

    def _code(self, code: types.CodeType, function: types.FunctionType) -> str:
        """Return the text of compiled code, and read the globals and modules named in it."""
        self._names.update(code.co_names)
        if outside := _OUTSIDE_METHODS & set(code.co_names):
            raise ModtoolsError(f"its code calls {outside.pop()}")
        self._any_name = self._any_name or bool(_ANY_NAME & set(code.co_names))
        steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
        for place, step in enumerate(steps):
            if step.opname in _LOADS:
                self._read_global(step.argval, function)
            elif step.opname == "IMPORT_NAME":
                level, wanted = (each.argval for each in steps[place - 2 : place])
                self._import(step.argval, level, wanted or (), function.__globals__)
        inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
        plain = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        own = [code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags]
        text = f"{own} {[self.text(constant) for constant in plain]}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"{digest} {[self._code(part, function) for part in inner]}"

    def _read_global(self, name: str, function: types.FunctionType) -> None:
        place = function.__globals__
        if name not in place:
            if name in _OUTSIDE_BUILTINS:
                raise ModtoolsError(f"its code calls {name}")
            if name == "globals":
                self._any_name = True
                self._module(sys.modules[function.__module__])
            return
        if (id(place), name) in self._done:
            return
        if _is_container(place[name]) and _is_only_written(name, function):
            return
        self._done.add((id(place), name))
        self.found.append(f"{place.get('__name__')}.{name} = {self.text(place[name])}")

    def _import(self, name: str, level: int, wanted: Any, place: Mapping[str, Any]) -> None:
        """Read a module that the code imports when it runs."""
        full = resolve_name("." * level + name, place.get("__package__") or "") if level else name
        for own in (full.partition(".")[0], full):
            self._read_module(own)
        for part in wanted:
            if part not in vars(sys.modules.get(full, types)):
                self._read_module(f"{full}.{part}")

    def _read_module(self, name: str) -> None:
        try:
            module = sys.modules.get(name) or importlib.import_module(name)
        except ImportError:  # the code that imports it may handle this
            self.found.append(f"no module {name}")
        except Exception as error:
            raise ModtoolsError(f"its code imports {name}, which fails") from error
        else:
            self.text(module)

    def _follow(self) -> None:
        """Read what the code names in modules and classes, until nothing new is named."""
        while todo := [
            (scope, name)
            for scope, made in list(self._scopes.values())
            for name in sorted(self._names_in(scope, made=made))
            if (_place_of(scope), name) not in self._done
        ]:
            for scope, name in todo:
                self._done.add((_place_of(scope), name))
                value = vars(scope)[name]
                if isinstance(scope, type):
                    if _is_container(value) and name in self._written_in_classes():
                        continue
                    self.found.append(f"{qualified(scope)}.{name} = {self.text(value)}")
                elif installed(scope.__name__) is None or _is_plain(value):
                    self.found.append(f"{scope.__name__}.{name} = {self.text(value)}")

    def _written_in_classes(self) -> set[str]:
        """Return the names of logs and counters that classes write themselves."""
        classes = [scope for scope, _ in self._scopes.values() if isinstance(scope, type)]
        parts = [item for scope in classes for item in vars(scope).items()]
        runs = [part for name, part in parts if name not in _NOT_CALLED]
        functions = [part for part in runs if isinstance(part, types.FunctionType)]
        return set().union(*map(_names_written, functions))

    def _names_in(self, scope: Any, *, made: bool) -> set[str]:
        held = set(vars(scope)) - _OF_CLASSES - _OF_MODULES
        if isinstance(scope, type):
            special = {n for n in held if n.startswith("__") and callable(vars(scope)[n])}
            chosen = self._names | (special if made else special - _NOT_CALLED)
            return held if self._any_name else held & chosen
        is_own = installed(scope.__name__) is None
        return held if self._any_name and is_own else held & self._names


def _tensor(tensor: "Tensor") -> str:
    import torch

    try:
        plain = tensor.detach().cpu().contiguous()
        flat = plain.reshape(-1).view(torch.uint8) if plain.numel() else plain.new_empty(0)
        digest = hashlib.sha256(flat.numpy().data).hexdigest()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModtoolsError(f"it holds a tensor without plain values ({tensor.layout})") from error
    return f"{plain.dtype}{tuple(plain.shape)}{digest}"


def _is_container(value: Any) -> bool:
    return isinstance(value, MutableMapping | MutableSequence | MutableSet)


def _place_of(scope: Any) -> int:
    """Return the id of a class, or of the globals of a module, which its functions share."""
    return id(scope) if isinstance(scope, type) else id(vars(scope))


def _script(network: Any) -> str:
    """Return the text of a compiled network: its calls, and the values in its file."""
    with zipfile.ZipFile(io.BytesIO(network.save_to_buffer())) as file:
        names = [n for n in file.namelist() if "/data" in n or n.endswith("/constants.pkl")]
        values = [hashlib.sha256(file.read(name)).hexdigest() for name in sorted(names)]
    calls = str(getattr(network, "inlined_graph", ""))
    return f"{re.sub('#.*', '', calls)} {values}"


def _is_plain(value: Any) -> bool:
    """Return whether a value of an installed package is read: a scalar, a function, a module."""
    kinds = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    return is_scalar(value) or isinstance(value, kinds) or value is os.environ


def _holds_code(cell: Any) -> bool:
    try:
        held = cell.cell_contents
    except ValueError:
        return False
    return isinstance(held, types.FunctionType | types.MethodType | partial)


# Counters and logs that code only writes do not change what it computes.
def _is_only_written(name: str, function: types.FunctionType) -> bool:
    """Return whether code only writes into a global, so that features do not depend on it."""
    tree = _syntax(function)
    written = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load)
    } | {id(target) for target in _written_by_calls(tree)}
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
    return bool(uses) and all(id(node) in written for node in uses)


def _names_written(function: types.FunctionType) -> set[str]:
    """Return the names of containers that code writes into, directly or through a local name."""
    tree = _syntax(function)
    aliases = {
        target.id: _names_along(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found |= _names_along(node.value)
    for target in _written_by_calls(tree):
        found |= _names_along(target)
    return found.union(*(aliases.get(name, set()) for name in found))


def _syntax(function: types.FunctionType) -> ast.AST:
    """Return the syntax tree of a function that writes something; else an empty tree."""
    steps = {step.opname for step in dis.get_instructions(function.__code__)}
    if not steps & _STORES and not _WRITERS & set(function.__code__.co_names):
        return ast.Module([], [])
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module([], [])


def _written_by_calls(tree: ast.AST) -> list[ast.expr]:
    """Return the objects of calls such as `.append(...)` whose result is not used."""
    calls = [n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)]
    heads = [call.func for call in calls if isinstance(call, ast.Call)]
    return [h.value for h in heads if isinstance(h, ast.Attribute) and h.attr in _WRITERS]


def _names_along(node: Any) -> set[str]:
    """Return the names along `a.b[c].d`: a, b and d."""
    found = set()
    while isinstance(node, ast.Attribute | ast.Subscript):
        found |= {node.attr} if isinstance(node, ast.Attribute) else set()
        node = node.value
    return found | ({node.id} if isinstance(node, ast.Name) else set())
