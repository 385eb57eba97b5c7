"""Cut botocore's descriptions of AWS down to what the functions may call.

A new process reads the description of a service before its first call, and the endpoints of all
services: 1.8 MB of JSON, an eighth of a cold `authorize`. Which operations are called is read off
the functions' policies in the built template: a power that is added brings its operation along.
One that no power is named after, such as a transaction, needs a line here; tests/package says so.
"""

import gzip
import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

# Powers with another name than their operation's, or of more than one.
_OPERATIONS_OF = {
    "lambda:InvokeFunction": ["Invoke"],
    "sqs:SendMessage": ["SendMessage", "SendMessageBatch"],
}


def cut(data: Path, services: Set[str], template: Any) -> None:
    """Rewrite ``botocore/data``. A service that no policy names stays as it was published."""
    parts = [part.get("Properties", {}) for part in template["Resources"].values()]
    granted = set(_named("Action", [part["Policies"] for part in parts if "Policies" in part]))
    if wild := [power for power in granted if "*" in power]:
        raise SystemExit(f"name the operations in place of {wild}: the SDK is cut to them")
    for service in services:
        powers = [power for power in granted if power.startswith(f"{service}:")]
        names = [_OPERATIONS_OF.get(power, [power.partition(":")[2]]) for power in powers]
        called = {name for of_power in names for name in of_power}
        for packed in (data / service).glob("*/service-2.json.gz") if called else ():
            description = _only(called, json.loads(gzip.decompress(packed.read_bytes())))
            # Not packed again: the layer is a zip, and no cold start has to undo it twice.
            packed.with_suffix("").write_text(json.dumps(description), encoding="utf-8")
            packed.unlink()
    everywhere = json.loads((endpoints := data / "endpoints.json").read_bytes())
    for partition in everywhere["partitions"]:
        for unused in partition["services"].keys() - services:
            del partition["services"][unused]
    endpoints.write_text(json.dumps(everywhere), encoding="utf-8")


def _only(called: Set[str], description: Any) -> Any:
    operations = {name: it for name, it in description["operations"].items() if name in called}
    shapes, waiting = {}, set(_named("shape", operations))
    while waiting:
        name = waiting.pop()
        shapes[name] = description["shapes"][name]
        waiting |= set(_named("shape", shapes[name])) - shapes.keys()
    return description | {"operations": operations, "shapes": dict(sorted(shapes.items()))}


def _named(key: str, tree: Any, under: str = "") -> Iterator[str]:
    """The strings that stand under this key, alone or in a list, however deep."""
    if isinstance(tree, dict):
        for name, inner in tree.items():
            yield from _named(key, inner, name)
    elif isinstance(tree, list):
        for inner in tree:
            yield from _named(key, inner, under)
    elif under == key and isinstance(tree, str):
        yield tree
