"""Whatever a preprocessing, a head or a network reads is part of the key, or nothing is kept."""

import importlib
import subprocess
import sys
import warnings
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.modules import PretrainedModule, _extraction as extraction, extract, run
from modtools.modules._identity import network_digest

INPUTS = np.ones((3, 2), np.float32)
NUMBERS = count()


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that imports files of a package of the user's, {name}, from their texts."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def made(**files):
        name = f"users_{next(NUMBERS)}"
        names.append(name)
        (tmp_path / name).mkdir()
        for file, text in {"__init__": "", **files}.items():
            path = tmp_path / name / f"{file}.py"
            path.write_text("import torch\n" + text.replace("{name}", name))
        importlib.invalidate_caches()
        return importlib.import_module(f"{name}.prep")

    yield made
    for loaded in [key for key in sys.modules if key.partition(".")[0] in names]:
        del sys.modules[loaded]


def submodule(prep, name):
    return importlib.import_module(f"{prep.__package__}.{name}")


def cached(preprocess, folder):
    module = PretrainedModule(nn.Identity(), name="id", preprocess=preprocess)
    return extract(module, INPUTS, cache=folder)


def assert_never_stale(make_preprocess, change, folder, monkeypatch):
    """Both before and after the change features are right; the second time they are read."""
    once = extraction._run_uncached
    for _ in range(2):
        preprocess = make_preprocess()
        expected = extract(
            PretrainedModule(nn.Identity(), name="id", preprocess=preprocess), INPUTS
        )
        np.testing.assert_array_equal(cached(preprocess, folder), expected)
        monkeypatch.setattr(extraction, "_run_uncached", None)  # it need not run
        np.testing.assert_array_equal(cached(make_preprocess(), folder), expected)
        monkeypatch.setattr(extraction, "_run_uncached", once)
        change()
    assert len(list(folder.iterdir())) == 2


X = "torch.as_tensor(batch)"
P = f"\ndef prep(batch): return {X}"
# Each text defines `prep`, whose features are 2 until CHANGE has run, then others.
READS = {
    "constant": (f"S = 2.0{P} * S", "prep.S = 5.0"),
    "list": (f"S = [1.0, 2.0]{P} * S[1]", "prep.S[1] = 5.0"),
    "dict": (
        f"S = {{'a': {{'b': 2.0}}}}{P} * S['a']['b']",
        "prep.S['a']['b'] = 5",
    ),
    "set": (f"S = {{2.0}}{P} * max(S)", "prep.S.add(5.0)"),
    "array": (
        f"import numpy as np\nS = np.full(2, 2.0){P} * S[0]",
        "prep.S[0] = 5",
    ),
    "array of objects": (
        f"import numpy as np\nS = np.array([[2.0], None], dtype=object){P} * S[0][0]",
        "prep.S[0][0] = 5.0",
    ),
    "numpy number": (
        f"import numpy as np\nS = np.float32(2){P} * S",
        "prep.S = prep.np.float32(5)",
    ),
    "tensor": (f"S = torch.full((2,), 2.0){P} * S", "prep.S[0] = 5"),
    "helper": (
        f"S = 2.0\ndef inner(x): return x * S\ndef helper(x): return inner(x)\n"
        f"def prep(batch): return helper({X})",
        "prep.S = 5.0",
    ),
    "another helper": (
        f"def helper(x): return x * 2\ndef prep(batch): return helper({X})",
        "prep.helper = lambda x: x * 5",
    ),
    "recursion": (
        f"S = 2.0\ndef again(x, n): return x * S if n == 0 else again(x, n - 1)\n"
        f"def prep(batch): return again({X}, 3)",
        "prep.S = 5.0",
    ),
    "comprehension": (
        f"S = 2.0\ndef prep(batch): return torch.stack([{X}[i] * S for i in range(len(batch))])",
        "prep.S = 5.0",
    ),
    "nested function": (
        f"S = 2.0\ndef prep(batch):\n    def inner(x): return x * S\n    return inner({X})",
        "prep.S = 5.0",
    ),
    "lambda": (f"S = 2.0\nf = lambda x: x * S\ndef prep(batch): return f({X})", "prep.S = 5.0"),
    "another lambda": (
        f"f = lambda x: x * 2\ndef prep(batch): return f({X})",
        "prep.f = lambda x: x * 5",
    ),
    "closure": (
        f"def scale(by):\n    def inner(x): return x * by\n    return inner\n"
        f"f = scale(2.0)\ndef prep(batch): return f({X})",
        "prep.f = prep.scale(5.0)",
    ),
    "default": (f"def prep(batch, by=2.0): return {X} * by", "prep.prep.__defaults__ = (5.0,)"),
    "named default": (
        f"def prep(batch, *, by=2.0): return {X} * by",
        "prep.prep.__kwdefaults__ = dict(by=5.0)",
    ),
    "default of a helper": (
        f"def f(x, by=[2.0]): return x * by[0]\ndef prep(batch): return f({X})",
        "prep.f.__defaults__[0][0] = 5.0",
    ),
    "attribute of a function": (
        f"def prep(batch): return {X} * prep.by\nprep.by = 2.0",
        "prep.prep.by = 5.0",
    ),
    "partial": (
        f"from functools import partial\ndef f(by, x): return x * by\n"
        f"g = partial(f, 2.0)\ndef prep(batch): return g({X})",
        "prep.g = prep.partial(prep.f, 5.0)",
    ),
    "cached helper": (
        f"from functools import cache\nS = 2.0\n@cache\ndef f(): return S{P} * f()",
        "prep.S = 5.0; prep.f.cache_clear()",
    ),
    "decorated helper": (
        f"S = 2.0\n@torch.no_grad()\ndef f(x): return x * S\ndef prep(batch): return f({X})",
        "prep.S = 5.0",
    ),
    "class attribute": (
        f"class C:\n    by = 2.0{P} * C.by",
        "prep.C.by = 5.0",
    ),
    "inherited class attribute": (
        f"class A:\n    by = 2.0\nclass C(A): pass{P} * C().by",
        "prep.A.by = 5.0",
    ),
    "method": (
        f"S = 2.0\nclass C:\n    def f(self, x): return x * S\n"
        f"c = C()\ndef prep(batch): return c.f({X})",
        "prep.S = 5.0",
    ),
    "property, static and class methods": (
        "S = 2.0\nclass C:\n    @property\n    def p(self): return S\n"
        "    @staticmethod\n    def s(): return S\n"
        f"    @classmethod\n    def c(cls): return S\nc = C(){P} * c.p * C.s() / C.c()",
        "prep.S = 5.0",
    ),
    "constructor": (
        f"S = 2.0\nclass C:\n    def __init__(self): self.by = S{P} * C().by",
        "prep.S = 5.0",
    ),
    "attribute of an object": (
        f"class C:\n    def __init__(self): self.by = [2.0]\nc = C(){P} * c.by[0]",
        "prep.c.by[0] = 5.0",
    ),
    "slots": (
        f"class C:\n    __slots__ = ('by',)\nc = C()\nc.by = 2.0{P} * c.by",
        "prep.c.by = 5.0",
    ),
    "callable object": (
        f"S = 2.0\nclass C:\n    def __call__(self, x): return x * S\n"
        f"c = C()\ndef prep(batch): return c({X})",
        "prep.S = 5.0",
    ),
    "operator": (
        f"S = 2.0\nclass C:\n    def __getitem__(self, i): return S\nc = C(){P} * c[0]",
        "prep.S = 5.0",
    ),
    "enum": (
        f"from enum import Enum\nclass E(Enum):\n    A = 2.0\n    B = 5.0\nS = E.A{P} * S.value",
        "prep.S = prep.E.B",
    ),
    "named tuple": (
        f"from collections import namedtuple\nT = namedtuple('T', 'by')\nS = T(2.0){P} * S.by",
        "prep.S = prep.T(5.0)",
    ),
    "network": (
        f"net = torch.nn.Linear(2, 2)\ndef prep(batch): return net({X}).detach()",
        "prep.net.weight.data += 1",
    ),
    "class container that a constructor fills": (
        "class C:\n    by = {}\n    def __init__(self, by): self.by['a'] = by\n"
        f"    def f(self, x): return x * self.by['a']\nc = C(2.0){P}.mul(0) + c.f({X})",
        "prep.c.__init__(5.0)",
    ),
    "name that is built": (
        f"class C: pass\nc = C()\nC.size_a = 2.0{P} * getattr(c, 'size_' + 'a')",
        "prep.C.size_a = 5.0",
    ),
    "all globals": (f"S = 2.0{P} * globals()['S']", "prep.S = 5.0"),
}
READS_OTHERS = {
    "attribute of a module": f"from {{name}} import other{P} * other.S",
    "module under a name": (
        f"import {{name}}.other as o\ndef prep(batch):\n    p = o\n    return {X} * p.S"
    ),
    "module of a package": f"import {{name}}.other{P} * {{name}}.other.S",
    "module handed on": (
        f"from {{name}} import other\ndef f(x, m): return x * m.S\n"
        f"def prep(batch): return f({X}, other)"
    ),
    "imported inside": (
        f"def prep(batch):\n    from {{name}} import other\n    return {X} * other.S"
    ),
    "constant imported inside": (
        f"def prep(batch):\n    from {{name}}.other import S\n    return {X} * S"
    ),
    "relative import": f"def prep(batch):\n    from . import other\n    return {X} * other.S",
    "relative constant": f"def prep(batch):\n    from .other import S\n    return {X} * S",
    "helper of a module": f"from {{name}}.other import f\ndef prep(batch): return f({X})",
    "method of a module": f"from {{name}} import other\ndef prep(batch): return other.C().f({X})",
    "getattr": f"from {{name}} import other{P} * getattr(other, 'SX'[0])",
}
OTHER = "S = 2.0\ndef f(x): return x * S\nclass C:\n    def f(self, x): return x * S"


@pytest.mark.parametrize("kind", READS)
def test_what_a_function_reads_is_part_of_the_key(make, tmp_path, monkeypatch, kind):
    text, change = READS[kind]
    prep = make(prep=text)
    assert_never_stale(
        lambda: prep.prep, lambda: exec(change, {"prep": prep}), tmp_path / "kept", monkeypatch
    )


@pytest.mark.parametrize("kind", READS_OTHERS)
def test_what_a_function_reads_of_other_modules(make, tmp_path, monkeypatch, kind):
    prep = make(prep=READS_OTHERS[kind], other=OTHER)
    assert_never_stale(
        lambda: prep.prep,
        lambda: setattr(submodule(prep, "other"), "S", 5.0),
        tmp_path / "kept",
        monkeypatch,
    )


OBJECTS = f"""
from dataclasses import dataclass
from functools import partial
S = 2.0
@dataclass(frozen=True)
class Data:
    by: float = 1.0
    def __call__(self, batch): return {X} * self.by * S
class Plain:
    def __init__(self): self.by = 1.0
    def __call__(self, batch): return {X} * self.by * S
    def method(self, batch): return {X} * self.by * S
class Net(torch.nn.Module):
    def forward(self, batch): return {X} * S
def scaled(by, batch): return {X} * by * S
"""


CALLABLES = ["Data()", "Plain()", "Plain().method", "Net()", "partial(scaled, 1.0)"]


@pytest.mark.parametrize(
    ("role", "expression"),
    [
        ("network", "Net()"),
        ("network", "torch.nn.Sequential(Net())"),
        *[(role, given) for role in ("preprocess", "source_head") for given in CALLABLES],
    ],
)
def test_objects_in_any_role_read_too(make, tmp_path, monkeypatch, role, expression):
    prep, folder = make(prep=OBJECTS), tmp_path / "kept"
    monkeypatch.setattr(extraction, "check_probabilities", lambda *_, **__: None)

    def found(**options):
        made = eval(expression, vars(prep))  # noqa: S307 (the list above)
        given = {"network": nn.Identity(), role: made}
        done = run(PretrainedModule(name="id", **given), torch.from_numpy(INPUTS), **options)
        return [done.features["id"], done.source_probabilities]

    for n_files in (1 + (role == "source_head"), 2 + (role == "source_head")):
        for own, kept in zip(found(), found(cache=folder), strict=True):
            np.testing.assert_array_equal(own, kept)
        assert len(list(folder.iterdir())) == n_files
        prep.S = 5.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"def prep(batch):\n    with open('x') as f: return {X} * float(f.read())", "calls open"),
        (f"def prep(batch): return {X} * eval('2.0')", "its code calls eval"),
        (f"import os{P} * len(os.environ)", "reads the environment"),
        (
            f"from os import environ as e{P} * len(e)",
            "reads the environment",
        ),
        (f"import os{P} * len(os.getenv('HOME', ''))", "call os.getenv"),
        (
            f"import numpy as n{P} * float(n.load('x.npy'))",
            r"call .*load",
        ),
        (
            f"from pathlib import Path{P} * float(Path('x').read_text())",
            "its code calls read_text",
        ),
        (
            f"S = (float(i) for i in range(99)){P} * next(S)",
            "holds a builtins.generator",
        ),
        (
            f"S = torch.ones(2).to_sparse(){P} * S.to_dense()",
            "without plain values",
        ),
    ],
)
def test_what_cannot_be_identified_is_not_cached_with_one_warning(
    make, tmp_path, monkeypatch, text, reason
):
    monkeypatch.chdir(tmp_path)
    Path("x").write_text("2.0")
    np.save("x.npy", np.array(2.0))
    prep = make(prep=text)
    with pytest.warns(ModtoolsWarning, match=reason) as caught:
        assert cached(prep.prep, tmp_path / "kept").shape == (3, 2)
    assert len(caught) == 1
    start = "MT007: the preprocess of id cannot be identified, so features cannot be cached: "
    assert str(caught[0].message).startswith(start)
    assert not (tmp_path / "kept").exists()


def test_a_counter_that_code_only_writes_is_not_part_of_the_key(make, tmp_path, monkeypatch):
    text = (
        f"from collections import Counter\nN = Counter()\n"
        f"def prep(batch):\n    N['calls'] += 1\n    return {X}"
    )
    prep = make(prep=text)
    cached(prep.prep, tmp_path / "kept")
    assert prep.N == {"calls": 1}
    cached(prep.prep, tmp_path / "kept")
    assert prep.N == {"calls": 1}
    read = make(prep=text.replace(f"return {X}", f"return {X} * N['calls']"))
    for times in (1, 2):  # its features do depend on it
        assert cached(read.prep, tmp_path / "kept")[0, 0] == times


def test_a_log_that_a_network_keeps_of_its_own_work_is_not_part_of_the_key(make):
    text = (
        "DONE = []\nclass Net(torch.nn.Module):\n    log, by = {0: {'rows': 0}}, {'a': 2.0}\n"
        "    def forward(self, x):\n        log = self.log[0]\n        log['rows'] += len(x)\n"
        "        DONE.append(len(x))\n        return {'x': x * self.by['a']}['x']"
    )
    prep = make(prep=text)
    network, before = prep.Net(), network_digest(prep.Net())
    network(torch.ones(3))
    assert (prep.DONE, prep.Net.log) == ([3], {0: {"rows": 3}})
    assert network_digest(network) == before
    prep.Net.by["a"] = 5.0
    assert network_digest(network) != before


def test_locks_and_loggers_hold_nothing_that_features_depend_on(make, tmp_path):
    prep = make(
        prep="import logging, threading\nlog = logging.getLogger('x')\nlock = threading.Lock()\n"
        f"def prep(batch):\n    log.debug('x')\n    with lock: return {X}"
    )
    cached(prep.prep, tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_network_that_cannot_be_identified_is_an_error_with_the_reason(make):
    prep = make(
        prep="import os\nclass Net(torch.nn.Module):\n"
        "    def forward(self, x): return x * len(os.environ)"
    )
    with pytest.raises(ModtoolsError, match=r"cannot be identified.*reads the environment"):
        network_digest(prep.Net())


def test_a_script_is_known_by_its_calls_and_values():
    def script(*layers):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch asks for other ways of compiling
            return torch.jit.trace(nn.Sequential(*layers), torch.ones(2, 2))

    plain = script(nn.Linear(2, 2), nn.ReLU())
    digests = [network_digest(plain), network_digest(script(nn.Linear(2, 2), nn.Tanh()))]
    assert network_digest(plain) == digests[0]
    with torch.no_grad():
        next(plain.parameters())[0, 0] += 1
    assert len({*digests, network_digest(plain)}) == 3


SEVERAL = """
import numpy as np
from dataclasses import dataclass
WORDS = {"a", "b", "c", "d"}
TABLE = {"x": (1, 2.5, None), "y": np.arange(3)}
@dataclass(frozen=True)
class Scale:
    by: float
SCALE = Scale(2.0)
def helper(x): return x * SCALE.by if "a" in {"a", "b", "c"} else x
class Net(torch.nn.Module):
    words = frozenset(WORDS)
    def forward(self, x): return helper(x) * len(self.words & WORDS) * TABLE["x"][1]
"""


def test_another_process_finds_the_same_key(make, tmp_path):
    prep = make(prep=SEVERAL)
    own = network_digest(prep.Net())
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import importlib; "
        "from modtools.modules._identity import network_digest; "
        "print(network_digest(importlib.import_module(sys.argv[2]).Net()))"
    )
    command = [sys.executable, "-c", code, tmp_path, prep.__name__]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == own
