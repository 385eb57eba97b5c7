"""What importing each built function costs: `make bench`.

A cold start is, but for the network, the CPU time of one import in a fresh process. Each function
is imported ROUNDS times in processes that see the built function and the built layer only; the
medians of the whole process's CPU time are printed, less and beside that of an empty process.
Functions take turns, so that a busy machine slows all of them alike.
"""

import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 15


def cpu_milliseconds(code: str, *path: Path) -> float:
    """User and system time of one interpreter that runs `code` with `path` alone."""
    setup = f"import sys; sys.path[:0] = {[str(part) for part in path]}; "
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-S", "-c", setup + code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def main() -> None:
    build = Path(sys.argv[1])
    layer = build / "LinkingLayer" / "python"
    functions = sorted(build.glob("*Function"))
    if not functions or not layer.is_dir():
        sys.exit(f"{build} holds no build: run make build")
    empty: list[float] = []
    taken: dict[str, list[float]] = {function.name: [] for function in functions}
    for _ in range(ROUNDS):
        empty.append(cpu_milliseconds("pass"))
        for function in functions:
            taken[function.name].append(cpu_milliseconds("import app", function, layer))
    floor = statistics.median(empty)
    sys.stdout.write(
        f"CPU of one import, medians of {ROUNDS}; an empty Python takes {floor:.0f} ms\n"
    )
    for name, samples in taken.items():
        median = statistics.median(samples)
        sys.stdout.write(
            f"  {name:<20} {median - floor:6.0f} ms   ({median / floor:.1f} x empty)\n"
        )


if __name__ == "__main__":
    main()
