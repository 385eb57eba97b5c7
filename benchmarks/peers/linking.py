"""What both libraries' programs share: what they are given, and how their links are measured."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi

Link = Callable[[str], None]
"""Link the TikTok account of this open id, from the click to the stored tokens."""


def measure(make: Callable[[dict[str, Any]], Link]) -> None:
    """Link those whom the file names, the first few unmeasured."""
    given = json.loads(Path(sys.argv[1]).read_text())
    # Before anything asks for the list: the servers of the benchmark are trusted beside it.
    certifi.where = lambda: given["authorities"]
    link = make(given)
    for open_id in given["open_ids"][: given["warm"]]:
        link(open_id)
    began = time.process_time()
    for open_id in given["open_ids"][given["warm"] :]:
        link(open_id)
    took = 1000 * (time.process_time() - began)
    each = took / (len(given["open_ids"]) - given["warm"])
    Path(given["answer"]).write_text(json.dumps({"answers": [], "cpu_ms": each}))
