"""How long `import ellipsoid` takes beside `import jax`, each in a process of its own.

The two take turns, so that a change of the machine's speed meets both. Python's own start is taken off.

    python benchmarks/imports.py [--runs 15]
"""

import argparse
import statistics
import subprocess
import sys

STATEMENTS = ("import jax", "import ellipsoid", "import ellipsoid.models", "import ellipsoid.cli")


def seconds(statement: str) -> float:
    """Seconds that a statement takes in a new process, after Python's own start."""
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(result.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Import of ellipsoid beside that of jax.")
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    for statement in STATEMENTS:
        seconds(statement)  # from now on the files are in the system's cache
    times = {statement: [] for statement in STATEMENTS}
    for _ in range(runs):
        for statement in STATEMENTS:
            times[statement].append(seconds(statement))
    print(f"{'':26}{'median s':>10}{'times jax: median':>19}{'least':>8}{'most':>8}")
    for statement in STATEMENTS:
        ratios = [own / jax for own, jax in zip(times[statement], times["import jax"], strict=True)]
        print(
            f"{statement:26}{statistics.median(times[statement]):10.3f}"
            f"{statistics.median(ratios):19.2f}{min(ratios):8.2f}{max(ratios):8.2f}"
        )


if __name__ == "__main__":
    main()
