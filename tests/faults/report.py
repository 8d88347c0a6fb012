"""How results are told: a line each while they are played, and a page of all of them for `docs/`."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Final

from tests.faults.scenario import Result

_PLAYED: Final = ("brokers", "scale", "rate", "offered")
_COLUMNS: Final = {
    "sent": "sent",
    "acknowledged": "acknowledged",
    "in_kafka": "in Kafka",
    "lost": "lost",
    "raw_duplicates": "raw duplicates",
    "slowest": "slowest answer, s",
    "p99": "p99, s",
    "recovered": "recovered in, s",
}
_HEAD: Final = """# What was done to it, and what became of the webhooks

A 2xx means that the event is stored. `make faults` tries to catch the daemon lying: a client of its own sends webhooks
as Aurora does, writes down what it sends and what it is answered, and tries again what failed; meanwhile brokers,
daemon, disk, network and clocks are broken. Afterwards everything is read back from Kafka by a consumer that shares no
code with the daemon, and the ledger decides. `tests/faults/ledger.py` says what it checks: nothing acknowledged is
missing, nothing is there that nobody sent, contents are those that were sent, one event is there under one id, no two
share one, each subject's events lie in the order they were accepted in, and no answer took longer than 8 s.

The client knows what genuinely happened, also where states come back: A, B, and A again, each an event of its own with
nothing that tells the one A from the other. An A that comes back must be published, whatever became of the B in
between: stored, refused or unheard. The ledger excuses nothing but what the design names
(`tests/faults/histories.py`):

- a copy that comes behind another state of its subject looks like a state that came back: it may be published, and then
  stands for the next that does;
- while the index is not complete, a state may come twice under two ids; so may, once the index was lost, a state whose
  answer was lost before, and when the clock is set, a state that leaves its window;
- what got no answer while the daemon was down, it may never have received;
- after a crash, retries are expected of what was stored within 10 s before it, so that the next of the same content is
  taken for one, once;
- between two replicas, what the other published within the follower's lag.

None of them lets a state be swallowed that the daemon could know to be genuine. How often they were needed is measured
below.

The *controls* are mutants: daemons that are wrong on purpose. A ledger that passes one is worth nothing: all have to
FAIL but `control-nothing-happens`, which is the honest daemon and has to PASS.

| column | what it is |
|---|---|
| scale | what the spans and numbers that the scenario names were multiplied by |
| rate, offered | webhooks a second that were asked for, and that were sent: fewer where the client had its hands full |
| sent, acknowledged | genuine events, however often each was sent; those of which one request got a 2xx |
| in Kafka | events with a record there. More than acknowledged: those whose answer was lost or came too late |
| lost | acknowledged, and not in Kafka, unless Kafka itself lost them, which is then named below |
| raw duplicates | records beyond the first of an id: consumers drop them by the id alone |
| slowest answer, p99 | of everything that was answered, retries included |
| recovered in | from the end of a fault until nothing waited for Kafka any more, the slowest; where it was looked at |

"""


def line(result: Result) -> str:
    """Return the line of a result. A mutant has to FAIL."""
    if result["skipped"]:
        return f"SKIP {result['name']}: NOT PLAYED on this machine: {result['skipped']}"
    if result["broke"]:
        return f"BROKE {result['name']}: {result['broke']}"
    told = {words: result[name] for name, words in _COLUMNS.items() if result[name] is not None}
    numbers = ", ".join(f"{words} {_number(value)}" for words, value in told.items())
    found = f" | {'; '.join(result['found'])}" if result["found"] else ""
    mark = "" if result["as_expected"] else "  <-- NOT AS IT SHOULD BE"
    remarks = "".join(f"  <-- NOT AS IT IS MEANT TO BE: {words}" for words in result["remarks"])
    return f"{word(result)} {result['name']}: {numbers}{_measured(result, ', ')}{found}{mark}{remarks}"


def page(results: Iterable[Result]) -> str:
    """Return the results as a page of Markdown."""
    results = list(results)
    head = ["scenario", "verdict", *_PLAYED, *_COLUMNS.values()]
    rows = [
        [one["name"], f"**{word(one)}**", *(_number(one.get(name)) for name in (*_PLAYED, *_COLUMNS))]
        for one in results
    ]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))
    played = f"Version {version('aurora-bridge')}.\n\n"
    return _HEAD + played + table + "\n## What each is\n\n" + "".join(map(_paragraph, results))


def word(result: Result) -> str:
    """Return the verdict in a word."""
    if result["skipped"]:
        return "SKIP"
    if result["broke"]:
        return "BROKE"
    return "FAIL" if result["found"] else "PASS"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.7g}"


def _paragraph(result: Result) -> str:
    mutant = f" By the mutant `{result['broken']}` of `tests/faults/mutants.py`." if result["broken"] else ""
    text = f"- **{result['name']}**: {result['what']}{mutant}"
    if result["skipped"]:
        return f"{text} **Not played: {result['skipped']}**\n"
    if result["broke"]:
        return f"{text} **Broke: {result['broke'].splitlines()[0]}**\n"
    found = f" The ledger found: {'; '.join(result['found'])}." if result["found"] else ""
    measured = f" Measured: {_measured(result, '')}." if result["measured"] else ""
    remarks = "".join(f" **Not as it is meant to be: {words}.**" for words in result["remarks"])
    return f"{text}{measured}{found}{remarks}\n"


def _measured(result: Result, before: str) -> str:
    pairs = [f"{words} {value:g}" for words, value in result["measured"].items()]
    return before + ", ".join(pairs) if pairs else ""
