"""The page of proofs: which tests would fail if a promise were broken.

A test names the promises that it proves, `@pytest.mark.proves("a 2xx means stored")`; a module where each of its tests
does, in its `pytestmark`. Promises are those below and the statements of `security.md`, each named by its heading and
its first words: `"An attacker cannot: choose a topic"`. `docs.reference` writes the page.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]

PROMISES: Final = (
    "a 2xx means stored",
    "every answer leaves within 8 s",
    "an event is published once, however often it is delivered",
    "a state that came back is a new event",
    "a retry after a refusal keeps id and time of the first attempt",
    "an expected retry is a duplicate, also behind a newer state",
    "no two genuine events share an id",
    "what was refused is listed until it comes again",
    "a declared re-send outlasts restarts and ends by itself",
    "a restart or a lost index forgets nothing that the log has",
    "a failing index hides no event and refuses none",
    "what one replica accepted, the others know",
    "events of a subject stay in order, through an outage too",
    "a record that is sent again makes no second copy while the process lives",
    "nothing goes to another cluster than the remembered one",
    "the subject chooses the partition",
    "no topic and no record holds up another",
    "what is malformed or unknown is kept, and no URL names a topic",
    "a dead letter is replayed once, and never with a hidden value",
    "no request matches two routes",
    "no secret leaves, and a secret changes without a refusal",
    "memory and files are bounded",
    "after an I/O error nothing is acknowledged",
    "a position in the spool stays valid",
    "a wall clock that is set deletes nothing",
    "the start waits for nothing, and Kafka away is ready",
    "a second daemon is kept out",
    "a deleted topic is not created again",
    "a new aiokafka or aiohttp that changes what is used of it is noticed",
)
"""Every promise, in the order of the page."""

SCENARIOS: Final[Mapping[str, tuple[str, ...]]] = {
    "a 2xx means stored": ("11-power-lost", "control-commit-unsynced"),
    "a state that came back is a new event": ("19-states-refused-no-spool", "19-states-refused-spool-full"),
    "a failing index hides no event and refuses none": (
        "11-index-volume-full",
        "11-index-disk-hung",
        "11-index-disk-hung-one-of-two",
        "11-index-deleted",
        "11-index-damaged",
    ),
    "An attacker cannot: fill the log by a flood": ("17-flood",),
    "An attacker cannot: add memory by a flood of requests that are refused": ("17-flood",),
    "An attacker cannot: keep a connection by saying little or slowly": ("15-slow-clients",),
}
"""By promise, the scenarios of `make faults` that prove what no test can."""

UNPROVEN: Final = "No test shows"
"""What a statement of `security.md` says that has no test."""


def statements() -> Mapping[str, str]:
    """Return the statements of `security.md`: the points of its lists, and the rows of its table of secrets."""
    found: dict[str, str] = {}
    for section in re.split(r"^#+ ", (REPOSITORY / "docs" / "security.md").read_text(), flags=re.MULTILINE):
        heading, _, body = section.partition("\n")
        points = re.findall(r"^- (.*(?:\n  .*)*)", body, re.MULTILINE)
        secrets = re.findall(r"^\| (.*)", body.partition("\n| secret |")[2], re.MULTILINE)
        found |= {f"{heading}: {_first_words(text)}": text for text in [*points, *secrets]}
    return found


def _first_words(statement: str) -> str:
    plain = re.sub(r"[*`]", "", " ".join(statement.split()))
    return re.split(r" ?[,;:.(|]", plain, maxsplit=1)[0]


def proofs() -> Mapping[str, list[str]]:
    """Return the node ids of the tests that prove each promise, as pytest takes them."""
    found = defaultdict(list)
    for file in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        name = str(file.relative_to(REPOSITORY))
        for owner, promise in _markers(ast.parse(file.read_text())):
            found[promise].append(f"{name}::{owner}" if owner else name)
    return found


def problems() -> list[str]:
    """Return what is wrong between the promises and the markers."""
    found, stated = proofs(), statements()
    unknown = [
        f"{test}: neither PROMISES in docs/proofs.py nor docs/security.md has {promise!r}"
        for promise, tests in found.items()
        if promise not in PROMISES and promise not in stated
        for test in tests
    ]
    needed = [*PROMISES, *(promise for promise, text in stated.items() if UNPROVEN not in " ".join(text.split()))]
    return unknown + [f"no test is marked as a proof of {promise!r}" for promise in needed if promise not in found]


def proofs_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Proofs\n"
    yield "<!-- Made by `make docs` from the markers in the tests. Change these, not this page. -->\n"
    yield (
        "For each promise, the tests that fail if it is broken: `.venv/bin/python -m pytest TEST` runs one. The\n"
        "models in `tests/models` and the fault injection of `make faults` ([Faults](faults.md)) check all of\n"
        "them together.\n"
    )
    found = proofs()
    for promise in PROMISES:
        yield f"## {promise[0].upper()}{promise[1:]}\n"
        yield from _list(promise, found)
    yield "## Security\n"
    yield "The statements of [Security](security.md).\n"
    for promise in statements():
        if promise in found:
            yield f"### {promise}\n"
            yield from _list(promise, found)


def _list(promise: str, found: Mapping[str, list[str]]) -> Iterator[str]:
    yield from (f"- `{test}`" for test in found[promise])
    yield from (f"- `make faults`, scenario {scenario}" for scenario in SCENARIOS.get(promise, ()))
    yield ""


def _markers(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each promise of a module's tests, with the name of the test; empty for the module itself."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                yield from (("", promise) for promise in _promises(value))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from (
                    (node.name, promise) for decorator in node.decorator_list for promise in _promises(decorator)
                )


def _promises(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.proves":
            yield from (str(ast.literal_eval(argument)) for argument in node.args)
