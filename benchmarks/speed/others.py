"""What is no cold start: links, hand-outs, sealing; ours beside the peers."""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

from benchmarks import journey
from benchmarks.cost.operations import quiet
from benchmarks.renewal.servers import TIKTOK
from benchmarks.renewal.tiktok import CLIENT_KEY, CLIENT_SECRET, CODE, first_pair
from benchmarks.speed import cold
from benchmarks.speed.cold import OURS, USUAL, Places
from benchmarks.speed.processes import run, run_handler
from benchmarks.speed.stage import PEERS, People, World, peer_event
from tiktok_linking import bootstrap

WARM = 8
SEALINGS = 30
"""Groups, of which the median is taken: one collection of garbage weighs as much as hundreds."""


def our_link(people: People, world: World, places: Places, count: int) -> tuple[float, float]:
    """CPU of an authorize and of a callback, each in a warm process of its function."""
    presses = people.presses(count + WARM)
    sent = cold.measure_warm("authorize", OURS, presses, WARM, world, places)
    returns = [
        journey.come_back(answer, open_id)
        for answer, open_id in zip(sent.answers, people.new_open_ids(len(presses)), strict=True)
    ]
    landed = cold.measure_warm("callback", OURS, returns, WARM, world, places)
    return sent.each_cpu_ms, landed.each_cpu_ms


def usual_link(people: People, world: World, places: Places, count: int) -> tuple[float, float]:
    """The same by the usual stack."""
    took = []
    for function in ("authorize", "callback"):
        events = [
            peer_event(function, number, open_id)
            for number, open_id in enumerate(people.new_open_ids(count + WARM))
        ]
        ran = cold.measure_warm(function, USUAL, events, WARM, world, places)
        took.append(ran.each_cpu_ms)
    return took[0], took[1]


def library_link(library: str, people: People, world: World, places: Places, count: int) -> float:
    """CPU of a link by a library, in one warm process."""
    given: dict[str, Any] = {
        "authorities": str(world.endpoints.authorities),
        "api": world.endpoints.urls[TIKTOK],
        "client_key": CLIENT_KEY,
        "client_secret": CLIENT_SECRET,
        "code": CODE,
        "open_ids": people.new_open_ids(count + WARM),
        "warm": WARM,
    }
    program = PEERS / f"{library}.py"
    return run([places.python, program], given, world.peers(), world.folder).each_cpu_ms


def vend(way: str, people: People, world: World, places: Places, count: int) -> float:
    """CPU of a hand-out in a warm process."""
    event = journey.vend(people.accounts[0]) if way == OURS else peer_event("tokens", 0, "")
    events = [event] * (count + WARM)
    return cold.measure_warm("tokens", way, events, WARM, world, places).each_cpu_ms


def sealing(people: People, count: int) -> float:
    """CPU of sealing one token, its key derived from the data key and all, in milliseconds."""
    now = people.stage.clock
    answer = first_pair("-000sealing", now)
    with quiet(), people.stage.function("refresh"):
        seals = bootstrap.sealing()
        seals.prepare("access", "refresh", now=now)
        gc.collect()
        gc.freeze()  # the people of this process are no part of a function's memory
        took = []
        for _ in range(SEALINGS + 1):
            began = time.process_time()
            for _ in range(count // SEALINGS):
                seals.seal_pair(answer, registration="default", now=now)
            took.append(time.process_time() - began)
        gc.unfreeze()
    # A pair is two tokens; the first group is unmeasured.
    return 1000 * statistics.median(took[1:]) / (count // SEALINGS) / 2


def sealing_by_kms(world: World, places: Places, count: int) -> float:
    """CPU of asking KMS to seal one token, in milliseconds."""
    ran = run_handler(
        places.python,
        [PEERS / "kms" / "sealing", places.site_packages],
        [{"token": "act.peer!" + "x" * 91}] * (count + WARM),
        warm=WARM,
        authorities=str(world.endpoints.authorities),
        variables=world.peers(),
        folder=world.folder,
    )
    return ran.each_cpu_ms
