"""Whether anything is being lost: the first line of the status page, and what else deserves a look.

A pure function of `status`. Refusals are going on while the last one is at most a few minutes old. They are bad if the
fault is the bridge's or Kafka's. A request without route or credential deserves a look if its path is one of Aurora's;
any other is a scanner's. The rules are read and changed together, so the module is long.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from math import isinf
from typing import NamedTuple

from aurora_bridge.access_log import RefusedRequest
from aurora_bridge.aurora.checks import Check, Finding
from aurora_bridge.aurora.inspection import SUBSCRIPTION_REMEDIES
from aurora_bridge.aurora.watch import Seen
from aurora_bridge.kafka.problem_reasons import NOT_CREATED
from aurora_bridge.metrics import NO_EVENT
from aurora_bridge.outcomes import Reason
from aurora_bridge.remedies import AUTO_DISABLE, CREDENTIALS, DEAD_LETTERS, REMEDIES
from aurora_bridge.web.formatting import counted, duration, moment, size
from aurora_bridge.web.status import Reading, Refused, Spool, Status

RECENT_SECONDS = 330.0
"""Refusals are going on for so long after the last one: Aurora's second retry comes 5 min after its first."""
NEARLY_FULL = 0.8
"""Share of the spool at which a line says so: after two days of outage, half a day is left."""
LAG_RECORDS = 1000
"""Records that the index may lag behind before a line says so: 50 ms of the follower's time."""
STUCK_SECONDS = 5.0
"""Age at which a delivery should have been in Kafka or in the spool."""
_SERVER_ERROR = 500
_AURORAS_FAULT = frozenset(
    {Reason.NO_ROUTE, Reason.UNAUTHORIZED, Reason.MALFORMED_WITH_CREDENTIAL, Reason.TARGET_TOO_LONG}
)


class Level(StrEnum):
    """How a line is meant; the value is the word that stands before it."""

    GOOD = "Good"
    LOOK = "Look"
    BAD = "Bad"


class Line(NamedTuple):
    """A statement, and what to do about it."""

    level: Level
    text: str
    remedy: str = ""


def diagnose(status: Status) -> list[Line]:
    """Return whether anything is being lost, then what else deserves a look."""
    now, others = _refused(status) or _taken(status), _worth_a_look(status)
    lost = [*_broken_spools(status), *_subscriptions_off(status), *_auto_disable_risk(status)]
    if now.level is Level.BAD:
        return [now, *lost, *others]
    if now.level is Level.GOOD and lost:
        return [*lost, *others]
    return [*lost, now, *others]


def _refused(status: Status) -> Line | None:
    """Return why webhooks are refused that ought to be taken, if they are."""
    spool = status.spool
    reason = None
    if spool is not None and spool.failed:
        reason, why = Reason.SPOOL_FAILED, "the disk of the spool failed, and the daemon is about to stop"
    elif status.ready or status.stopping:
        refused = next((refused for refused in _refused_lately(status) if refused.reason.status >= _SERVER_ERROR), None)
        if refused is not None:
            reason, why = refused.reason, f"{refused.reason.value}, {duration(status.now - refused.last)} ago"
    elif spool is None:
        reason, why = Reason.KAFKA_UNAVAILABLE, f"{_away(status)}, and there is no spool"
    elif status.kafka is None:
        return Line(
            Level.BAD,
            "Webhooks are being refused: the embedded log is full",
            "It has room again when old events expire (SPOOL__RETENTION_DAYS). Raise SPOOL__MAX_BYTES and restart the "
            "daemon, or name a Kafka in KAFKA__BOOTSTRAP_SERVERS: the events then go there.",
        )
    else:
        reason, why = Reason.SPOOL_FULL, f"the spool is full, and {_away(status)}"
    return Line(Level.BAD, f"Webhooks are being refused: {why}", REMEDIES[reason]) if reason else None


def _broken_spools(status: Status) -> Iterator[Line]:
    """Yield what may have been lost at a start, until somebody deletes the file."""
    for file in status.broken_spools:
        yield Line(
            Level.BAD,
            f"Events may have been lost: the spool was found broken at a start, and moved to {file}",
            "What could be read of it was kept; the log of that start says how much. Check the disk. Aurora sends "
            "the others again, up to 30 days: the runbook AuroraBridgeBrokenFile says how. Then delete the file.",
        )


def _subscriptions_off(status: Status) -> Iterator[Line]:
    """Yield the events of which nothing arrives, since their subscriptions are off."""
    if status.subscriptions is not None and (events := status.subscriptions.inspection.silent):
        more = f", and {counted(len(events) - 1, 'other')}" if len(events) > 1 else ""
        text = f"Aurora's subscription of {events[0]}{more} is off: nothing arrives from it"
        yield Line(Level.BAD, text, SUBSCRIPTION_REMEDIES[Check.SWITCHED_OFF])


def _subscriptions(seen: Seen, now: float) -> Iterator[Line]:
    """Yield what else is wrong with Aurora's subscriptions, a line for each kind, and why they cannot be listed."""
    by_check: dict[Check, list[Finding]] = {}
    for finding in seen.inspection.findings:
        if finding.check is not Check.SWITCHED_OFF or not {*finding.events} & {*seen.inspection.silent}:
            by_check.setdefault(finding.check, []).append(finding)
    for check, (first, *others) in by_check.items():
        rest = len(first.events) - 1
        where = f"{first.events[0]} and {counted(rest, 'other event')}" if rest else first.where
        more = f" (and {counted(len(others), 'other')} like it)" if others else ""
        text = f"Subscriptions in Aurora, {where}: {first.what}{more}"
        yield Line(Level.LOOK, text, SUBSCRIPTION_REMEDIES[check])
    if seen.error is not None:
        last = f", the last time was {duration(now - seen.time)} ago" if seen.time else ""
        why = str(seen.error).removesuffix(".")
        yield Line(Level.LOOK, f"Aurora's subscriptions cannot be listed{last}: {why}", seen.error.remedy)


def _auto_disable_risk(status: Status) -> Iterator[Line]:
    """Yield the subscriptions that Aurora may switch off: then nothing comes from them."""
    at_risk = [one for one in status.failing if one.at_risk]
    for one in at_risk[:1]:
        when = "" if isinf(one.seconds_left) else f", at this rate in {duration(one.seconds_left)}"
        if not one.seconds_left:
            when = " at any moment"
        more = f", and {counted(len(at_risk) - 1, 'other')}" if len(at_risk) > 1 else ""
        which = f"the subscription of {one.event}" if one.event != NO_EVENT else "a subscription whose URL has no route"
        yield Line(
            Level.BAD,
            f"Aurora may switch off {which}{more}{when}: its last {counted(one.in_a_row, 'attempt')} failed",
            AUTO_DISABLE,
        )


def _taken(status: Status) -> Line:
    """Return what becomes of webhooks that are accepted."""
    if status.stopping:
        return Line(Level.LOOK, "The daemon is stopping: what it still takes is stored, Aurora retries the rest")
    away = _away(status)
    if away:
        remedy = (
            "Create the topics, with aurora-bridge topics --apply: what waits then drains into them, in order."
            if _reasons(status) == {"topic_missing"}
            else "They are published in order, by themselves, when Kafka takes them again."
        )
        return Line(
            Level.LOOK,
            f"Nothing is lost: events wait in the spool while {away}",
            " ".join([*_since_and_until(status), remedy]),
        )
    waiting = 0 if status.kafka is None else sum(topic.waiting for topic in status.topics)
    if waiting:
        return Line(Level.LOOK, f"Nothing is lost: {counted(waiting, 'event')} on the way from the spool to Kafka")
    if _refused_of_auroras(status):
        return Line(Level.LOOK, "Nothing that was let in is being lost, but requests are refused that may be Aurora's")
    where = ": without a Kafka, events are kept in the embedded log" if status.kafka is None else ""
    return Line(Level.GOOD, f"Nothing is being lost{where}")


def _worth_a_look(status: Status) -> Iterator[Line]:
    for problem in status.kafka.problems if status.kafka else ():
        words = problem.words
        yield Line(Level.LOOK, f"Kafka, {problem.about}: {problem.reason}", words[:1].upper() + words[1:])
    yield from _deliveries(status)
    if status.subscriptions is not None:
        yield from _subscriptions(status.subscriptions, status.now)
    yield from _outstanding(status)
    if status.takes_from_anyone:
        yield Line(
            Level.LOOK,
            "Anyone who reaches the proxy in front can forge events: no credentials are set",
            "Set AUTH__TOKENS_FILE and restart the daemon; or, if that is meant, AUTH__ALLOW_ANONYMOUS=true.",
        )
    if status.spool is not None:
        yield from _spool(status.spool)
    elif status.ready:
        yield Line(
            Level.LOOK, "There is no spool: while Kafka is away, webhooks are refused", "Set SPOOL__ENABLED=true."
        )
    yield from _index(status)
    for file in status.failing_files:
        yield Line(
            Level.LOOK, f"{file} cannot be used: what it held before stays in force", "Fix it; the log says why."
        )


def _deliveries(status: Status) -> Iterator[Line]:
    for refused in _refused_of_auroras(status):
        last = duration(status.now - refused.time)
        what = f"{refused.reason.value}, {refused.path} from {refused.client}, {last} ago"
        remedy = CREDENTIALS[refused.credential] if refused.credential else REMEDIES[refused.reason]
        yield Line(Level.LOOK, f"Requests are refused on a path of Aurora's: {what}", remedy)
    for letter in status.last_dead_letters[:1]:
        if status.now - letter.time < RECENT_SECONDS:
            last = f"{letter.reason.value}, {duration(status.now - letter.time)} ago"
            yield Line(Level.LOOK, f"A delivery became a dead letter: {last}", DEAD_LETTERS[letter.reason])
    for garbled, _ in status.garbled_templates[:1]:
        if status.now - garbled.time < RECENT_SECONDS:
            yield Line(
                Level.LOOK,
                f"A URL template in Aurora is garbled: that of {garbled.event}",
                "It went through HTML or a framework. It is read as it was meant; paste the one below in its place.",
            )
    if status.oldest_unanswered > STUCK_SECONDS:
        age = duration(status.oldest_unanswered)
        yield Line(Level.LOOK, f"A delivery has waited {age} for its answer", REMEDIES[Reason.TOO_LATE])


def _outstanding(status: Status) -> Iterator[Line]:
    pending, missed, due_ms, latest_ms = status.outstanding
    if count := sum(missed.values()):
        yield Line(
            Level.LOOK,
            f"{_deliveries_of(count)} can no longer come: refused, and Aurora's retries are over",
            "aurora-bridge resend request prints what to ask Aurora for; its support sends again what is up to 30 days "
            "old. Equal contents count once, and what came while no daemon ran is not counted.",
        )
    if count := sum(pending.values()):
        yield Line(
            Level.LOOK,
            f"Aurora still owes {_deliveries_of(count)} that were refused; the last is due by {moment(due_ms / 1000)}",
            f"They come by themselves. Aurora's retries are approximate: wait until {moment(latest_ms / 1000)}. They "
            "end early if the subscription is switched off: look at it in Aurora.",
        )
    resend = status.resend
    if resend.lasts(int(status.now * 1000)):
        yield Line(
            Level.LOOK,
            f"A re-send is declared, until {moment(resend.ends_ms / 1000)}: {resend.known:,} deliveries were known, "
            f"{resend.new:,} new",
            "Meanwhile genuine repeats are hidden, too. Once it has come: aurora-bridge resend end, on each replica.",
        )


def _deliveries_of(count: int) -> str:
    return counted(count, "delivery", "deliveries")


def _spool(spool: Spool) -> Iterator[Line]:
    if spool.quarantined:
        yield Line(
            Level.LOOK,
            f"Kafka rejected {counted(spool.quarantined, 'event')}; they are quarantined",
            "aurora-bridge quarantine list says why. Fix the cause, then: aurora-bridge quarantine retry.",
        )
    if spool.room_bytes < spool.limit_bytes:
        yield Line(
            Level.LOOK,
            f"The spool may take {size(spool.limit_bytes)}, but its volume has room for {size(spool.room_bytes)} of it",
            "Enlarge the volume of STATE_DIR, delete from it what is not the daemon's, or lower SPOOL__MAX_BYTES and "
            "restart the daemon.",
        )
    if spool.bytes >= NEARLY_FULL * spool.room_bytes and not spool.full:
        yield Line(
            Level.LOOK,
            f"The spool is full to {100 * spool.bytes // spool.room_bytes:.0f} %",
            "Full, it refuses webhooks. Bring Kafka back, or raise SPOOL__MAX_BYTES and restart the daemon.",
        )


def _index(status: Status) -> Iterator[Line]:
    if status.index_failed:
        yield Line(
            Level.LOOK,
            "The index cannot be used: events bypass it, duplicates with them. Nothing is lost by that",
            "It is opened again by itself, every second. Check the disk of STATE_DIR; the log has the cause.",
        )
    elif status.reading is not None:
        yield _reading(status.reading)
    elif not status.index_complete:
        yield Line(
            Level.LOOK,
            "The index does not know all events of today: duplicates of states may pass. Nothing is lost by that",
            "It will by itself: once Kafka can be read or, if records of today have left a topic or a full index, from "
            "midnight UTC on.",
        )
    if status.lag > LAG_RECORDS and status.reading is None:
        yield Line(
            Level.LOOK,
            f"The index lags {counted(status.lag, 'record')} behind Kafka: duplicates of those may pass",
            "It catches up by itself once Kafka can be read.",
        )


def _reading(reading: Reading) -> Line:
    meanwhile = "Until that is done, duplicates of states may pass. Nothing is lost by that."
    if not reading.to_read:
        text = "The log is still to be read into the index"
        return Line(Level.LOOK, text, f"That begins, by itself, once Kafka can be read. {meanwhile}")
    text = f"Reading the log into the index: {reading.read:,} of {reading.read + reading.to_read:,} events"
    if isinf(reading.seconds_left):
        return Line(Level.LOOK, text, f"{meanwhile} If it stands still, the daemon's log says why.")
    return Line(Level.LOOK, f"{text}, about {duration(reading.seconds_left)} left", meanwhile)


def _away(status: Status) -> str:
    """Return in words how much of Kafka is away, an empty string if nothing is."""
    away = sum(not topic.writable for topic in status.topics)
    if away and set() < _reasons(status) <= {"topic_missing", *NOT_CREATED}:
        return f"{counted(away, 'topic')} of {len(status.topics)} are not there"
    if away == len(status.topics):
        return "Kafka is away"
    return f"Kafka has no leader for {counted(away, 'topic')}" if away else ""


def _since_and_until(status: Status) -> Iterator[str]:
    """Yield since when Kafka has been away, in whole or in part, and when the spool will be full."""
    since = status.kafka.away_since if status.kafka else 0.0
    if since:
        yield f"Away since {moment(since)} ({duration(status.now - since)})."
    if status.spool is not None and not isinf(status.spool.full_in_seconds):
        yield f"By its growth of the last minutes, the spool is full in {duration(status.spool.full_in_seconds)}."


def _reasons(status: Status) -> set[str]:
    """Return the reasons of what is wrong with Kafka now."""
    return {problem.reason for problem in status.kafka.problems} if status.kafka else set()


def _refused_of_auroras(status: Status) -> Iterable[RefusedRequest]:
    """Return, for each reason, the last request that was refused lately and is Aurora's by its path."""
    found: dict[Reason, RefusedRequest] = {}
    for refused in status.last_refused:
        if refused.known_path and refused.reason in _AURORAS_FAULT and status.now - refused.time < RECENT_SECONDS:
            found.setdefault(refused.reason, refused)
    return found.values()


def _refused_lately(status: Status) -> list[Refused]:
    return [refused for refused in status.refused if status.now - refused.last < RECENT_SECONDS]
