"""Takes messages. A body says what becomes of it."""

import json
import time
from typing import Any


def lambda_handler(event: Any, context: Any) -> Any:
    if "Records" not in event:
        time.sleep(event.get("sleep", 0))
        print(json.dumps({"level": "INFO", "message": "called", "event": event}))
        return {"echo": event}
    failures = []
    for record in event["Records"]:
        if record["body"] == "slow":
            time.sleep(0.5)
        if record["body"] == "fail":
            failures.append({"itemIdentifier": record["messageId"]})
    batch = [record["body"] for record in event["Records"]]
    print(json.dumps({"level": "INFO", "message": "batch", "batch": batch, "event": event}))
    return {"batchItemFailures": failures}
