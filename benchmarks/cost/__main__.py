"""`make cost`: count the calls of each operation, and write what they cost a month.

python -m benchmarks.cost          count, and write calls.toml and the part of docs/performance.md
python -m benchmarks.cost --print  show the tables and write nothing
"""

from __future__ import annotations

import contextlib
import io
import sys

from benchmarks.cost import files, tables
from benchmarks.cost.operations import count_operations
from benchmarks.document import write_part
from benchmarks.renewal.setting import Setting


def main() -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # what the product logs is no result
        counted = count_operations(Setting.read())
    if "--print" not in sys.argv:
        files.write_counts(counted)
        write_part("cost", tables.written())
    sys.stdout.write(tables.written() + "\n")


if __name__ == "__main__":
    main()
