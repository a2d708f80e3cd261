"""Run every benchmark, one after the other, and write benchmarks.json (name -> ratio or megabytes).

    python tests/benchmarks/run.py [--quick] [--only moments rows]

Each runs in a process of its own with one thread. `bench_agreement.py` needs half an hour, the
extra `demo` and the Fashion-MNIST files; so does `bench_extrapolation.py`, which takes some ten
minutes: they run where they are named, as in `--only agreement`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
DEFAULT = [
    *("moments", "rows", "extraction", "proxies", "training", "retraining"),
    *("curve", "label_efficiency", "race", "prediction"),
]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_one(name: str, *, quick: bool) -> dict[str, float]:
    """Return the figures of one benchmark file."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "figures.json"
        command = [sys.executable, str(HERE / f"bench_{name}.py"), "--json", str(result)]
        if quick:
            command.append("--quick")
        subprocess.run(command, check=True, env=os.environ | dict.fromkeys(THREADS, "1"))
        figures: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return figures


def main() -> None:
    """Parse the command line, run, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all run")
    parser.add_argument("--only", nargs="+", default=DEFAULT, metavar="NAME", help="which ones")
    parser.add_argument("--out", type=Path, default=Path("benchmarks.json"))
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    for name in arguments.only:
        print(f"== {name}", flush=True)
        figures |= run_one(name, quick=arguments.quick)
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
