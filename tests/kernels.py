"""Run the tests as they run on other processors: every kernel of OpenBLAS, torch, 1 to 3 threads.

    python tests/kernels.py

OpenBLAS and torch choose by processor how they sum, so the last bits of every product differ from
machine to machine. Here one machine takes the part of others: the whole suite runs once with each
kernel, and what compares floating-point numbers (``-m floating_point``) with 1, 2 and 3 threads.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PYTEST = (*("-m", "pytest", "--quiet", "--numprocesses", "auto", "--maxprocesses", "8"),)
ON = "not slow and not gpu and not network and not benchmark"
# Wheels of numpy and scipy hold no kernel of their own for Zen: theirs for Haswell serves it.
SERVED_BY = {"Haswell": "Haswell", "SkylakeX": "SkylakeX", "Zen": "Haswell", "Nehalem": "Nehalem"}
PROBE = """
import json
import numpy, scipy.linalg, threadpoolctl, torch
libraries = [l for l in threadpoolctl.threadpool_info() if l["internal_api"] == "openblas"]
print(json.dumps({
    "kernels": sorted({library["architecture"] for library in libraries}),
    "threads": sorted({library["num_threads"] for library in libraries}),
    "torch": torch.backends.cpu.get_cpu_capability(),
    "torch_threads": torch.get_num_threads(),
}))
"""


def has_avx512() -> bool:
    """Return whether this processor can run the kernel SkylakeX."""
    processor = Path("/proc/cpuinfo")
    return processor.exists() and "avx512vl" in processor.read_text(encoding="utf-8")


def expect(environment: dict[str, str], **facts: object) -> None:
    """Stop unless a process with this environment computes as it asks for."""
    command = [sys.executable, "-c", PROBE]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout)
    wrong = {name: found[name] for name, fact in facts.items() if found[name] != fact}
    if wrong:
        sys.exit(f"asked for {facts}, this machine computes with {wrong}")


def run(name: str, environment: dict[str, str], *, marker: str = ON) -> list[str]:
    """Run the tests with an environment; return the name of the run if it failed."""
    print(f"== {name}", flush=True)
    command = [sys.executable, *PYTEST, "--dist", "worksteal", "-m", marker]
    return [name] if subprocess.run(command, cwd=ROOT, env=environment).returncode else []


def main() -> None:
    """Run the suite under each kernel, and the floating-point tests with 1, 2, 3 threads."""
    failed = []
    for kernel, serving in SERVED_BY.items():
        if kernel == "SkylakeX" and not has_avx512():
            print("== left out: SkylakeX, for want of AVX-512", flush=True)
            continue
        environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
        expect(environment, kernels=[serving])
        failed += run(f"OpenBLAS kernel {kernel}", environment)
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    expect(environment, torch="DEFAULT")
    failed += run("torch without vector instructions", environment)
    for count in (1, 2, 3):
        environment = {**os.environ, **dict.fromkeys(THREADS, str(count)), "MKL_DYNAMIC": "FALSE"}
        # OpenBLAS starts no more threads than the machine has processors; torch does if MKL may.
        expect(environment, threads=[min(count, os.cpu_count() or 1)], torch_threads=count)
        failed += run(f"{count} threads", environment, marker=f"floating_point and {ON}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
