"""Deliveries under load, by clients that remember what they were told, and the two questions asked afterwards.

Each client has a connection and a subject of its own and sends one delivery after the other, numbered upward, so that
the order of a subject's events is known. Clients are threads: the daemon is another process, and so is the broker.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from threading import Condition, Event
from time import monotonic
from typing import Final, Self
from uuid import uuid4

from tests.e2e.stores import Stored
from tests.support.http import Connection, Response

TARGETS: Final = (
    "/project_status_changed?project_id={subject}&status=s{number}&number={number}",
    "/lead_changed?lead_id={subject}&number={number}",
    "/asset_created?design_id={subject}&asset_id=a{number}&number={number}",
)
"""A state, a signal and an event that happens once; two clients each."""

CLIENTS: Final = 2 * len(TARGETS)
SECONDS: Final = 30.0
"""Bound of every wait for answers."""

BREATH_SECONDS: Final = 0.02
"""After a refusal, before the next try: six clients that are refused at once would otherwise keep a core busy."""


@dataclass(frozen=True, slots=True)
class Told:
    """A delivery and its answer."""

    number: int
    status: int
    id: str | None
    outcome: str
    reason: str | None
    seconds: float


class Load:
    """Clients that deliver while `on` a daemon; their subjects go on when they come back to another."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        """Every answer, in the order of their arrival."""
        self._count = Counter[str]()
        self._subjects = [str(uuid4()) for _ in range(CLIENTS)]
        self._numbers = count()
        self._changed = Condition()
        self._stop = Event()

    @contextmanager
    def on(self, url: str) -> Iterator[Self]:
        """Deliver to a daemon until the block ends. A client whose connection breaks ends by itself."""
        self._stop.clear()
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._deliver, url, number) for number in range(CLIENTS)]
            try:
                yield self
            finally:
                self._stop.set()
        for client in clients:
            client.result()

    def wait_for(self, answers: int, *outcomes: str) -> None:
        """Return after so many more answers of these outcomes. Raises `TimeoutError`."""
        with self._changed:
            goal = answers + sum(self._count[outcome] for outcome in outcomes)
            enough = self._changed.wait_for(lambda: sum(self._count[outcome] for outcome in outcomes) >= goal, SECONDS)
        if not enough:
            message = f"not {answers} answers of {outcomes}; there were {self.outcomes()}"
            raise TimeoutError(message)

    def outcomes(self) -> Mapping[tuple[int, str, str | None], int]:
        """Return how often each status, outcome and reason was the answer."""
        return Counter((told.status, told.outcome, told.reason) for told in self.told)

    @property
    def acknowledged(self) -> list[Told]:
        """Every 2xx."""
        return [told for told in self.told if told.status == 200]

    @property
    def slowest(self) -> float:
        """Seconds of the answer that took longest."""
        return max(told.seconds for told in self.told)

    def _deliver(self, url: str, client: int) -> None:
        template, subject = TARGETS[client % len(TARGETS)], self._subjects[client]
        with suppress(ConnectionError), Connection(url) as connection:
            while not self._stop.is_set():
                number = next(self._numbers)
                began = monotonic()
                response = connection.get(template.format(subject=subject, number=number))
                self._note(number, response, monotonic() - began)
                if response.status != 200:
                    self._stop.wait(BREATH_SECONDS)

    def _note(self, number: int, response: Response, seconds: float) -> None:
        told = response.json
        with self._changed:
            self.told.append(Told(number, response.status, told["id"], told["outcome"], told.get("reason"), seconds))
            self._count[told["outcome"]] += 1
            self._changed.notify_all()


def lost(acknowledged: Iterable[Told], stored: Iterable[Stored]) -> list[Told]:
    """Return the acknowledged deliveries whose event is kept nowhere."""
    keys = {kept.key for kept in stored}
    return [told for told in acknowledged if told.id not in keys]


def out_of_order(acknowledged: Iterable[Told], stored: Iterable[Stored]) -> Mapping[str, list[int]]:
    """Return the subjects whose acknowledged events are not in their order, with it; the first record of an id counts.

    `stored` must have the records of a subject in the order of their offsets.
    """
    ids = {told.id for told in acknowledged}
    numbers = defaultdict[str, list[int]](list)
    for kept in stored:
        if kept.key in ids:
            ids.remove(kept.key)
            event = kept.event
            numbers[event["subject"]].append(int(event["data"]["number"]))
    return {subject: found for subject, found in numbers.items() if found != sorted(found)}
