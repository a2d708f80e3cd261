"""The shape of the house: who may import whom, names, budgets, and a cheap import."""

import ast
import io
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "modtools"
ROOMS = (
    "plotting",
    "tasks",
    "outputs",
    "modules",
    "proxies",
    "transferability",
    "training",
    "selection",
    "retraining",
    "studies",
    "cli",
    "testing",
)
RANKS = {room: number for number, room in enumerate([*ROOMS, "__main__"], start=1)}
FOUNDATION = 0  # files beside the rooms: exceptions, _checks, _progress, ...
PUBLIC_FILES = {PACKAGE / "training/networks.py"}  # modtools.training.networks, by design
WITHOUT_TORCH = ("exceptions", "plotting", "tasks", "outputs", "modules")
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_POSITIONAL = 600, 40, 6
HANDLER = "try:\n    f()\nexcept ValueError as error:\n    "  # and what it does
Function = ast.FunctionDef | ast.AsyncFunctionDef
DOCUMENTED = Function | ast.ClassDef | ast.Module
SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def short(path):
    return str(path.relative_to(ROOT))


def place_of(path):
    """Return the room of a file, or its own name where it lies beside the rooms."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rank_of(place):
    return RANKS.get(place, FOUNDATION)


@cache
def nodes_of(tree):
    """Return all nodes of a tree, which several rules go through."""
    return list(ast.walk(tree))


def imported_places(tree):
    """Yield (line, room or file, what) of every import of modtools, wherever it stands."""
    for node in nodes_of(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "modtools":
                yield node.lineno, parts[1] if len(parts) > 1 else "", name


def imports_from_below(tree, own):
    """Yield what a file of a room (or beside the rooms) imports from a room after its own."""
    for line, place, name in imported_places(tree):
        if name != "modtools.__version__" and (not place or rank_of(place) > rank_of(own)):
            yield f"{line} imports {name}"


def private_imports(tree, own):
    """Yield what a file imports from a private file of another room."""
    for line, place, name in imported_places(tree):
        file = "".join(name.split(".")[2:3])
        if place in RANKS and place != own and file.startswith("_"):
            yield f"{line} imports {name}; export it from modtools/{place}/__init__.py"


def imports_by_string(tree, own):
    """Yield imports by string, of modtools or of a name that is computed at run time."""
    for node in nodes_of(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = ast.unparse(node.func).rpartition(".")[2]
        name = node.args[0]
        is_other = isinstance(name, ast.Constant) and not str(name.value).startswith("modtools")
        if function in ("import_module", "__import__") and not is_other:
            yield f"{node.lineno} runs {ast.unparse(node)}"


def imports_inside_functions(tree, own):
    """Yield imports of modtools that do not stand at the top; a command may defer them."""
    if own == "cli":
        return
    for function in functions_of(tree):
        for line, _, name in imported_places(function):
            yield f"{line} imports {name} inside {function.name}"


def attribute_tests(tree, own):
    """Yield calls of hasattr: a kind of argument is told by isinstance, of a class or Protocol."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hasattr":
            yield f"{node.lineno} runs {ast.unparse(node)}"


def decisions_by_message(tree, own):
    """Yield comparisons of the text of a caught error, or of a name that holds its text."""
    for handler in nodes_of(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None:
            continue
        texts = {f"str({handler.name})", f"{handler.name}.args", f"repr({handler.name})"}
        for node in ast.walk(handler):
            if isinstance(node, ast.Assign) and any(text in ast.unparse(node) for text in texts):
                texts |= {ast.unparse(target) for target in node.targets}
        for node in ast.walk(handler):
            if is_comparison(node) and any(mentions(node, text) for text in texts):
                yield f"{node.lineno} decides by {ast.unparse(node)}"


def is_comparison(node):
    """Return whether an expression compares text: `in`, `==`, startswith, a regular expression."""
    if isinstance(node, ast.Call):
        words = ("startswith", "endswith", "find", "match", "search", "fullmatch")
        return ast.unparse(node.func).rpartition(".")[2] in words
    return isinstance(node, ast.Compare)


def mentions(node, text):
    return any(ast.unparse(part) == text for part in ast.walk(node) if isinstance(part, ast.expr))


def functions_of(tree):
    return [node for node in nodes_of(tree) if isinstance(node, Function)]


def code_lines(path):
    """Return the numbers of the lines that hold code: no docstring, comment or blank line."""
    used = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in SILENT:
            used |= set(range(token.start[0], token.end[0] + 1))
    for node in nodes_of(TREES[path]):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            used -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return used


def public_names(path):
    """Return the `__all__` of a room."""
    for node in TREES[path].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def every_definition(body, prefix=""):
    """Yield (name, node) of the functions and classes in a body, and of their public methods."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef) and not is_protocol(node):
                yield from every_definition(node.body, f"{node.name}.")


def is_protocol(node):
    return any("Protocol" in ast.unparse(base) for base in node.bases)


def is_overload(node):
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)


RULES = (
    imports_from_below,
    private_imports,
    imports_by_string,
    imports_inside_functions,
    attribute_tests,
    decisions_by_message,
)
PLANTED = [
    (imports_from_below, "from modtools.selection import rank_modules"),
    (imports_from_below, "def later():\n    import modtools.cli"),
    (imports_from_below, "import modtools"),
    (private_imports, "from modtools.tasks._labels import encode_labels"),
    (private_imports, "import modtools.tasks._labels"),
    (private_imports, "if TYPE_CHECKING:\n    from modtools.tasks import _labels"),
    (imports_by_string, 'import_module("modtools.transferability")'),
    (imports_by_string, "importlib.import_module(name)"),
    (imports_by_string, 'import_module(f"modtools.{room}")'),
    (imports_by_string, '__import__("modtools.tasks")'),
    (imports_inside_functions, "def later():\n    from modtools.tasks import Task"),
    (imports_inside_functions, "class A:\n    def later(self):\n        import modtools.tasks"),
    (attribute_tests, 'if hasattr(modules, "load"):\n    pass'),
    (decisions_by_message, HANDLER + 'if str(error).startswith("features "):\n        raise'),
    (decisions_by_message, HANDLER + 'if "finite" in str(error):\n        raise'),
    (decisions_by_message, HANDLER + 'found = "finite" in error.args[0]'),
    (decisions_by_message, HANDLER + "text = str(error)\n    if text == name:\n        raise"),
    (decisions_by_message, HANDLER + 'if re.search("finite", str(error)):\n        raise'),
]
CLEAN = """
from importlib import import_module
from modtools._checks import as_float
from modtools.outputs._base import Output
from modtools.tasks import Task

def later(value):
    import torch
    try:
        import_module("torch")
    except ValueError as error:
        if isinstance(error, KeyError) or value == "name":
            raise
        print(str(error))
"""
# Files that import what a user names, load torch only where tensors come or networks are trained,
# or ask what the operating system offers.
FOR_GOOD = {
    imports_inside_functions: {
        "modtools/_feature_maps.py",
        "modtools/retraining/_reused.py",
        "modtools/studies/_from_scratch.py",
    },
    imports_by_string: {
        "modtools/_checks.py",
        "modtools/cli/_inputs.py",
        "modtools/modules/_code_identity.py",
        "modtools/modules/_rebuild.py",
    },
    attribute_tests: {
        "modtools/_folders.py",
        "modtools/_stopping.py",
        "modtools/_workers.py",
    },
}


@pytest.fixture(params=FILES, ids=short)
def path(request):
    return request.param


def test_every_folder_is_a_room_of_the_house():
    folders = {place.name for place in PACKAGE.iterdir() if place.is_dir()} - {"__pycache__"}
    assert folders <= set(ROOMS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_is_kept(rule):
    found = {short(path): list(rule(TREES[path], place_of(path))) for path in FILES}
    found.pop("modtools/__init__.py")  # the front door names everything, lazily
    broken = {path: reasons for path, reasons in found.items() if reasons}
    allowed = FOR_GOOD.get(rule, set())
    assert {path: reasons for path, reasons in broken.items() if path not in allowed} == {}
    assert allowed <= set(broken), f"take out what keeps the rule: {sorted(allowed - set(broken))}"


@pytest.mark.parametrize(("rule", "source"), PLANTED)
def test_the_rule_catches_what_breaks_it(rule, source):
    assert list(rule(ast.parse(source), "outputs"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_lets_clean_files_pass(rule):
    assert list(rule(ast.parse(CLEAN), "outputs")) == []


def test_imports_are_absolute(path):
    levels = {node.level for node in nodes_of(TREES[path]) if isinstance(node, ast.ImportFrom)}
    assert levels <= {0}


def test_rooms_keep_their_files_private(path):
    is_private = path.name == "__init__.py" or path.name.startswith("_")
    assert is_private or path.parent == PACKAGE or path in PUBLIC_FILES


@pytest.mark.parametrize("folder", ["modtools", "tests", "case_studies", "docs"])
def test_no_file_or_folder_has_a_name_that_says_nothing(folder):
    places = (ROOT / folder).rglob("*")
    banned = [short(place) for place in places if place.stem.strip("_").lower() in BANNED_NAMES]
    assert not banned


def test_files_stay_within_their_budget(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


def test_functions_stay_within_their_budget(path):
    lines = code_lines(path)
    long = {
        node.name: size
        for node in functions_of(TREES[path])
        if (size := len(lines & set(range(node.lineno, node.end_lineno + 1)))) > MAX_FUNCTION_LINES
    }
    assert not long


def test_functions_take_few_positional_arguments(path):
    many = {
        node.name: [argument.arg for argument in node.args.posonlyargs + node.args.args]
        for node in functions_of(TREES[path])
        if len(node.args.posonlyargs + node.args.args) > MAX_POSITIONAL
    }
    assert not many


def test_public_definitions_have_a_docstring(path):
    bare = [
        name
        for name, node in every_definition(TREES[path].body)
        if ast.get_docstring(node) is None and not is_overload(node)
    ]
    assert ast.get_docstring(TREES[path]), f"{short(path)} does not say what it is"
    assert not bare


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_list_their_public_names_in_order(room):
    path = PACKAGE / room / "__init__.py"
    names = public_names(path)
    assert names is not None
    upper = [name for name in names if name.isupper()]
    rest = [name for name in names if not name.isupper()]
    classes = [name for name in rest if name[0].isupper()]
    functions = [name for name in rest if not name[0].isupper()]
    assert names == sorted(upper) + sorted(classes) + sorted(functions)


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"cli"}))  # a command has --help
def test_public_functions_have_an_example_that_runs(room):
    path = PACKAGE / room / "__init__.py"
    public = set(public_names(path) or ())
    bare = [
        node.name
        for other in path.parent.glob("*.py")
        for node in TREES[other].body
        if isinstance(node, Function)
        and node.name in public
        and not is_overload(node)
        and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert not bare


def loaded_after(statement, *packages):
    """Return which of the packages are loaded in a fresh interpreter after a statement."""
    code = f"import sys; {statement}; print(*(set({packages!r}) & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return set(result.stdout.split())


def test_importing_modtools_is_cheap():
    heavy = ("torch", "matplotlib", "seaborn", "pandas", "sklearn", "scipy", "numpy", "rich")
    assert not loaded_after("import modtools", *heavy)


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_rooms_that_need_no_network_do_not_load_torch(room):
    assert not loaded_after(f"import modtools.{room}", "torch", "matplotlib", "seaborn")


def test_the_front_door_opens_every_name_it_lists():
    import modtools

    missing = []
    for name in modtools.__all__:
        try:
            getattr(modtools, name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert not missing


def test_the_front_door_refuses_other_names():
    import modtools

    assert dir(modtools) == sorted(modtools.__all__)
    with pytest.raises(AttributeError, match="module 'modtools' has no attribute 'scores'"):
        _ = modtools.scores
