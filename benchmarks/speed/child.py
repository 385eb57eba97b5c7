"""Run a function's handler: the first events unmeasured, the rest measured, all answers written.

Runs in an interpreter that sees the function and its packages alone, so it knows nothing of this
repository: `python -I -S child.py <file>`. With one event and none of them unmeasured it is a cold
start, and whoever started it looks at the whole process's CPU.
"""

import json
import sys
from pathlib import Path

given = json.loads(Path(sys.argv[1]).read_text())
sys.path[:0] = given["path"]
if given["authorities"]:
    import certifi

    # The servers of the benchmark are trusted beside all that the list holds anyway.
    certifi.where = lambda: given["authorities"]

import app  # noqa: E402 - the path is what was given


class Context:
    """Lambda's context, as far as handlers look at it."""

    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    function_name = "function"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"

    def get_remaining_time_in_millis(self) -> int:
        """An invocation that has just begun."""
        return 28_000


def main() -> None:
    """Do what the file says."""
    warming, measured = given["events"][: given["warm"]], given["events"][given["warm"] :]
    answers = [app.lambda_handler(event, Context()) for event in warming]
    cpu_ms = 0.0
    if warming:
        import time

        began = time.process_time()
        answers += [app.lambda_handler(event, Context()) for event in measured]
        cpu_ms = 1000 * (time.process_time() - began) / len(measured)
    else:
        answers += [app.lambda_handler(event, Context()) for event in measured]
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peak = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    said = {"answers": answers, "cpu_ms": cpu_ms, "peak_mb": peak[0] / 1024 if peak else 0.0}
    Path(given["answer"]).write_text(json.dumps(said))


main()
