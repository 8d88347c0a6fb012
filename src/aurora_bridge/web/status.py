"""What the status page shows, as plain data: the daemon at one moment.

`status_collector` collects it from the parts of the daemon, `diagnosis` evaluates it, `page` shows it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aurora_bridge.access_log import RefusedRequest
from aurora_bridge.aurora.watch import Seen
from aurora_bridge.auto_disable.attempts import Subscription
from aurora_bridge.bridge import DeadLetter
from aurora_bridge.dedup.outstanding import Outstanding
from aurora_bridge.dedup.resend import Declaration
from aurora_bridge.garbled_templates import GarbledTemplate
from aurora_bridge.kafka.problem_reasons import Problem
from aurora_bridge.outcomes import Reason
from aurora_bridge.suggested_templates import Paste
from aurora_bridge.web.history import Window


class Topic(NamedTuple):
    """An event, and its topic."""

    event: str
    writable: bool
    """Whether all its partitions have a leader."""
    waiting: int
    """Events of it in the spool."""
    received: float
    """When a delivery last came, seconds since the epoch; 0: never."""
    accepted: int
    """Deliveries that were answered with a 2xx or are kept as dead letters."""
    duplicates: int
    """How many of these were duplicates."""


class Kafka(NamedTuple):
    """Kafka as the daemon sees it."""

    servers: str
    prefix: str
    """What the names of all topics begin with."""
    problems: Sequence[Problem]
    """What is wrong between the daemon and Kafka."""
    errors: dict[str, int]
    """Batches that Kafka did not acknowledge, by its error."""
    away_since: float
    """Since when topics have not been writable, seconds since the epoch; 0: all are."""


class Spool(NamedTuple):
    """What the spool holds."""

    waiting: int
    bytes: int
    limit_bytes: int
    """What its setting allows."""
    room_bytes: float
    """What there is room for on its volume now; never more than the limit."""
    full_in_seconds: float
    """At the growth of the last minutes; infinity where it does not grow."""
    oldest_seconds: float
    quarantined: int
    full: bool
    failed: bool


class Volume(NamedTuple):
    """The volume of the state directory, in bytes; NaN while the system does not tell."""

    free: float
    size: float


class Reading(NamedTuple):
    """How much of the log has been read into the index."""

    read: int
    """Events, since it began."""
    to_read: int
    """0 also where that is not known yet."""
    seconds_left: float


class Answers(NamedTuple):
    """How soon the answers of one outcome left: half, 99 % and all of them within so many seconds."""

    outcome: str
    deliveries: int
    half: float
    most: float
    all: float
    late: int
    """How many took longer than Aurora waits."""


class Refused(NamedTuple):
    """Deliveries refused for one reason."""

    reason: Reason
    deliveries: int
    last: float
    """When, seconds since the epoch."""


class Status(NamedTuple):
    """Everything that the page shows."""

    now: float
    started: float
    version: str
    state_dir: str
    stopping: bool
    ready: bool
    kafka: Kafka | None
    """None: the spool is the event log."""
    topics: Sequence[Topic]
    spool: Spool | None
    volume: Volume
    windows: Sequence[Window]
    answers: Sequence[Answers]
    in_flight: int
    oldest_unanswered: float
    refused: Sequence[Refused]
    """The latest first."""
    last_refused: Sequence[RefusedRequest]
    """The last ones, the latest first."""
    failing: Sequence[Subscription]
    """Those with attempts that failed in the last 48 h: first what Aurora may switch off, the soonest first."""
    subscriptions: Seen | None
    """Those in Aurora; None: its API is not polled."""
    dead_letters: dict[str, int]
    """By reason."""
    last_dead_letters: Sequence[DeadLetter]
    """The latest first."""
    garbled_templates: Sequence[tuple[GarbledTemplate, str]]
    """Each with the template to paste in its place, empty where that is not known; the latest first."""
    broken_spools: Sequence[str]
    """Files that were moved away; what could not be read from them is in no topic."""
    index_failed: bool
    index_complete: bool
    """Whether the index knows all that happened today."""
    reading: Reading | None
    """None once the log has been read to its end."""
    index_bypassed: int
    outstanding: Outstanding
    """Deliveries that were refused and have not come again."""
    resend: Declaration
    """The last one that was declared."""
    lag: int
    """Records in Kafka that the index does not know yet."""
    other_instances: int
    credentials: dict[str, int]
    """Deliveries let in, by file, kind of credential and line."""
    failing_files: Sequence[str]
    """Secret files that cannot be used."""
    takes_from_anyone: bool
    """Whether there are no credentials, though a proxy makes the ingress public."""
    routes: Sequence[Paste]
    public_url: str
