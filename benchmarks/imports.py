"""Times of imports and of the command line's help beside `import jax`, each in a separate process.

All take turns, so that a change of the machine's speed meets all of them. Python's own start is taken off the
imports, and part of the commands, as a person waits for it.

    python benchmarks/imports.py [--runs 15]
"""

import argparse
import statistics
import subprocess
import sys
import time

STATEMENTS = (
    "import jax",
    "import ellipsoid",
    "import ellipsoid; ellipsoid.fit, ellipsoid.sample",
    "import ellipsoid.models; ellipsoid.models.Autoencoder",
    "import ellipsoid.cli",
)
COMMANDS = ("--version", "--help", "train --help")


def seconds(statement: str) -> float:
    """Give the seconds that a statement takes in a new process, after Python's own start."""
    code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(result.stdout)


def command_seconds(words: str) -> float:
    """Give the seconds that a command takes, from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ellipsoid", *words.split()], capture_output=True, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Imports and help of ellipsoid beside the import of jax.")
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    measures = {statement: (seconds, statement) for statement in STATEMENTS}
    measures |= {f"ellipsoid {words}": (command_seconds, words) for words in COMMANDS}
    for measure, what in measures.values():
        measure(what)  # from now on the files are in the system's cache
    times: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(runs):
        for name, (measure, what) in measures.items():
            times[name].append(measure(what))
    print(f"{'':56}{'median s':>10}{'times jax: median':>19}{'least':>8}{'most':>8}")
    for name, taken in times.items():
        ratios = [own / jax for own, jax in zip(taken, times["import jax"], strict=True)]
        print(
            f"{name:56}{statistics.median(taken):10.3f}"
            f"{statistics.median(ratios):19.2f}{min(ratios):8.2f}{max(ratios):8.2f}"
        )


if __name__ == "__main__":
    main()
