"""The shape of the house: who may import whom, names, budgets, and a cheap import."""

import ast
import io
import subprocess
import sys
import tokenize
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
WITHOUT_TORCH = ("exceptions", "plotting", "tasks", "outputs")
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_POSITIONAL = 600, 40, 6
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


def imported_places(tree):
    """Yield (line, room or file, what) of every import of modtools, wherever it stands."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "modtools":
                yield node.lineno, parts[1] if len(parts) > 1 else "", name


def functions_of(tree):
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def code_lines(path):
    """Return the numbers of the lines that hold code: no docstring, comment or blank line."""
    used = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in SILENT:
            used |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(TREES[path]):
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


@pytest.fixture(params=FILES, ids=short)
def path(request):
    return request.param


def test_every_folder_is_a_room_of_the_house():
    folders = {place.name for place in PACKAGE.iterdir() if place.is_dir()} - {"__pycache__"}
    assert folders <= set(ROOMS)


def test_a_room_imports_only_from_rooms_above_it(path):
    if path == PACKAGE / "__init__.py":
        return  # the front door names everything, lazily
    own = place_of(path)
    wrong = [
        f"{short(path)}:{line} imports {name}"
        for line, place, name in imported_places(TREES[path])
        if name != "modtools.__version__" and (not place or rank_of(place) > rank_of(own))
    ]
    assert not wrong


def test_no_room_imports_a_private_file_of_another(path):
    own = place_of(path)
    wrong = [
        f"{short(path)}:{line} imports {name}; export it from modtools/{place}/__init__.py"
        for line, place, name in imported_places(TREES[path])
        if place in RANKS and place != own and name.split(".")[2:3]
        for file in name.split(".")[2:3]
        if file.startswith("_")
    ]
    assert not wrong


def test_imports_are_absolute(path):
    levels = {node.level for node in ast.walk(TREES[path]) if isinstance(node, ast.ImportFrom)}
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
