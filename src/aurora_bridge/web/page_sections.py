"""The sections of the status page, below its first lines: one function for each, in their order, hence its length.

They show what is in `status`; `components` has the tables they are made of.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isinf, isnan

from aurora_bridge.aurora.inspection import SUBSCRIPTION_REMEDIES, State
from aurora_bridge.aurora.watch import Seen
from aurora_bridge.auto_disable.attempts import DISABLED_AT, Subscription
from aurora_bridge.metrics import BUDGET_SECONDS
from aurora_bridge.outcomes import Outcome
from aurora_bridge.remedies import DEAD_LETTERS, REMEDIES
from aurora_bridge.web.components import ago, cell, facts, key, number, section, shortened, table, timestamp
from aurora_bridge.web.formatting import answer_time, counted, duration, moment, size
from aurora_bridge.web.history import Window
from aurora_bridge.web.markup import Html, element
from aurora_bridge.web.status import Answers, Kafka, Spool, Status, Topic, Volume

_REFUSED_SHOWN = 20
_OUTCOMES = {
    Outcome.PUBLISHED: "acknowledged by Kafka",
    Outcome.SPOOLED: "stored on disk",
    Outcome.DUPLICATE: "known already",
    Outcome.DEAD_LETTERED: "kept, unreadable",
    Outcome.REFUSED: "not taken",
}


def sections(status: Status) -> Iterator[Html]:
    """Yield the sections in the order of the page."""
    yield section("Kafka", *_kafka(status.kafka, status.topics))
    yield section("Spool" if status.kafka else "Embedded log", _spool(status.spool, embedded=status.kafka is None))
    yield section("Events", *_events(status))
    yield section("Answers", *_answers(status))
    yield section("Refusals", *_refusals(status))
    if status.failing:
        yield section("Attempts that failed", _failing(status))
    if status.subscriptions is not None:
        yield section("Subscriptions in Aurora", *_subscriptions(status.subscriptions, status.now))
    yield section("Dead letters", *_dead_letters(status))
    if status.garbled_templates:
        yield section("Templates to fix", _garbled_templates(status))
    yield section("Routes", *_routes(status))
    yield section("Credentials", *_credentials(status))
    yield section("This daemon", _daemon(status))


def _kafka(kafka: Kafka | None, topics: Sequence[Topic]) -> Iterator[Html]:
    if kafka is None:
        yield element("p", "Not configured: the events stay in the embedded log.")
        return
    led = sum(topic.writable for topic in topics)
    state = "connected" if led == len(topics) else "not connected" if not led else "connected in part"
    yield facts(
        [
            ("State", state),
            ("Topics with leaders", f"{led} of {len(topics)} ({kafka.prefix}*)"),
            *([("Kafka away since", moment(kafka.away_since))] if kafka.away_since else []),
            ("Bootstrap servers", kafka.servers),
        ]
    )
    if kafka.errors:
        rows = [[key(reason), number(count)] for reason, count in kafka.errors.items()]
        yield table("Batches that Kafka did not acknowledge, since the start", ["Kafka's error", "#Batches"], rows)


def _spool(spool: Spool | None, *, embedded: bool) -> Html:
    if spool is None:
        return element("p", "Switched off: while Kafka is away, webhooks are refused.")
    share = f"{size(spool.bytes)} of {size(spool.room_bytes)}, {100 * spool.bytes / spool.room_bytes:.0f} %"
    full_in = "does not grow" if isinf(spool.full_in_seconds) else f"in {duration(spool.full_in_seconds)}"
    return facts(
        [
            ("State", "the disk failed" if spool.failed else "full" if spool.full else "takes events"),
            ("Kept" if embedded else "Waiting for Kafka", counted(spool.waiting, "event")),
            ("Oldest", duration(spool.oldest_seconds) if spool.waiting else "none"),
            ("Size", share),
            ("Full, by its growth of the last minutes", full_in),
            ("Quarantined, rejected by Kafka", counted(spool.quarantined, "event")),
        ]
    )


def _events(status: Status) -> Iterator[Html]:
    """Yield the topics without a leader and those that received something, then the others, folded."""
    in_part = len({topic.writable for topic in status.topics}) > 1
    told = [topic for topic in status.topics if topic.received or topic.waiting or (in_part and not topic.writable)]
    rest = [topic for topic in status.topics if topic not in told]
    told.sort(key=lambda topic: (topic.writable, -topic.received))
    columns = ["Event", "Last received", *(["Topic", "#In the spool"] if status.kafka else [])]
    columns += ["#Accepted", "#Known already"]
    if told:
        yield table("The latest first", columns, (_event(topic, status) for topic in told))
    if rest:
        folded = table("Not received since the start", columns, (_event(topic, status) for topic in rest))
        yield element("details", element("summary", f"Not received since the start: {len(rest)}"), folded)


def _event(topic: Topic, status: Status) -> list[Html]:
    kafka = []
    if status.kafka is not None:
        kafka = [cell("has leaders" if topic.writable else "no leader"), number(topic.waiting)]
    last = cell(ago(topic.received, status.now))
    return [key(topic.event), last, *kafka, number(topic.accepted), number(topic.duplicates)]


def _answers(status: Status) -> Iterator[Html]:
    rows = [_answer(answers) for answers in status.answers if answers.deliveries]
    if not rows:
        yield element("p", "None since the start.")
    else:
        columns = ["Last", "#Taken", "#A second", "#Half within", "#99 % within", "#Refused"]
        yield table("The last minutes, from receipt to answer", columns, map(_window, status.windows))
        columns = ["Outcome", "Meaning", "#Deliveries", "#Half within", "#99 % within", "#All within"]
        columns.append(f"#Later than Aurora waits ({BUDGET_SECONDS} s)")
        yield table("Since the start, from receipt to answer", columns, rows)
    oldest = f", the oldest for {duration(status.oldest_unanswered)}" if status.in_flight else ""
    yield element("p", f"Not answered yet: {status.in_flight}{oldest}.")


def _answer(answers: Answers) -> list[Html]:
    return [
        key(answers.outcome),
        cell(_OUTCOMES[Outcome(answers.outcome)]),
        number(answers.deliveries),
        *map(_answer_time, (answers.half, answers.most, answers.all)),
        number(answers.late),
    ]


def _window(window: Window) -> list[Html]:
    return [
        key(duration(window.seconds)),
        number(window.taken),
        cell(f"{window.taken / window.seconds:,.2f}", class_="number"),
        *(map(_answer_time, (window.half, window.most)) if window.taken else [cell("-", class_="number")] * 2),
        number(window.refused),
    ]


def _answer_time(seconds: float) -> Html:
    return cell("longer" if isinf(seconds) else answer_time(seconds), class_="number")


def _refusals(status: Status) -> Iterator[Html]:
    if not status.refused:
        yield element("p", "None since the start.")
        return
    rows = [
        [
            key(refused.reason.value),
            number(refused.deliveries),
            cell(ago(refused.last, status.now)),
            cell(REMEDIES[refused.reason], class_="prose"),
        ]
        for refused in status.refused
    ]
    yield table("Since the start, the latest first", ["Reason", "#Deliveries", "Last", "What to do"], rows)
    last = sorted(status.last_refused, key=lambda refused: not refused.known_path)[:_REFUSED_SHOWN]
    rows = [
        [
            cell(ago(refused.time, status.now)),
            cell(refused.reason.value),
            cell(refused.credential.value if refused.credential else "-"),
            cell(refused.client or "unknown"),
            cell(element("code", refused.path or "-")),
            cell(shortened(refused.route or "none")),
        ]
        for refused in last
    ]
    columns = ["When", "Reason", "Credential", "From", "Path", "Route"]
    yield table("The last ones, first those on a path of Aurora's", columns, rows)


def _failing(status: Status) -> Html:
    rows = [
        [
            key(one.event),
            cell(shortened(one.route)),
            *map(number, (one.attempts, one.failures, one.in_a_row)),
            cell(_left(one)),
        ]
        for one in status.failing
    ]
    columns = ["Event", "Route", "#Attempts", "#Failed", "#The last in a row", "Switched off by Aurora"]
    return table("Of Aurora's attempts in the last 48 h", columns, rows)


def _left(one: Subscription) -> str:
    if not one.at_risk:
        return "no risk"
    if isinf(one.seconds_left):
        return f"at {DISABLED_AT} in a row"
    return f"at this rate in {duration(one.seconds_left)}" if one.seconds_left else "at any moment"


def _subscriptions(seen: Seen, now: float) -> Iterator[Html]:
    counts = Counter[State]()
    for (_, state), count in seen.inspection.counts.items():
        counts[state] += count
    yield facts(
        [
            ("Last listed", f"{duration(now - seen.time)} ago" if seen.time else "not since the start"),
            ("On", str(counts[State.ENABLED])),
            ("Off", str(counts[State.DISABLED])),
            ("To other hosts", str(counts[State.ELSEWHERE])),
        ]
    )
    if seen.inspection.findings:
        rows = [
            [
                cell(one.where, class_="prose"),
                cell(one.what, class_="prose"),
                cell(SUBSCRIPTION_REMEDIES[one.check], class_="prose"),
            ]
            for one in seen.inspection.findings
        ]
        yield table("What is wrong with them", ["Subscription or event", "What is wrong", "What to do"], rows)


def _dead_letters(status: Status) -> Iterator[Html]:
    if not status.dead_letters:
        yield element("p", "None since the start.")
        return
    rows = [
        [key(reason), number(count), cell(DEAD_LETTERS[reason], class_="prose")]
        for reason, count in status.dead_letters.items()
    ]
    yield table("Causes, since the start", ["Reason", "#Deliveries", "What it means"], rows)
    last = [
        [
            cell(ago(letter.time, status.now)),
            cell(shortened(letter.event)),
            cell(letter.reason.value),
            cell(shortened(letter.route)),
            cell(element("code", letter.id)),
        ]
        for letter in status.last_dead_letters
    ]
    columns = ["When", "Event in the request", "Reason", "Route", "Id in the dead-letter topic"]
    yield table(f"The last {len(last)}" if len(last) > 1 else "The last one", columns, last)


def _garbled_templates(status: Status) -> Html:
    rows = [
        [
            key(garbled.event),
            cell(ago(garbled.time, status.now)),
            cell(shortened(garbled.route)),
            cell(element("code", shortened(" ".join(garbled.names)))),
            cell(element("code", template or "the one in Aurora, as plain text")),
        ]
        for garbled, template in status.garbled_templates
    ]
    columns = ["Event", "Last", "Route", "Names as they came", "URL template to paste in its place"]
    return table("Garbled by HTML or a framework, and read as they were meant", columns, rows)


def _routes(status: Status) -> Iterator[Html]:
    if not status.public_url:
        hint = "HOST is the name that Aurora reaches; set INGRESS__PUBLIC_URL to have it here."
        yield element("p", hint)
    rows = [[key(paste.event), cell(paste.tenant), cell(element("code", paste.url))] for paste in status.routes]
    yield table("What to paste into Aurora, secrets hidden", ["Event", "Tenant", "URL template"], rows)


def _credentials(status: Status) -> Iterator[Html]:
    if not status.credentials:
        yield element("p", "None was used since the start.")
        return
    rows = [[key(which), number(count)] for which, count in status.credentials.items()]
    yield table("Deliveries let in, since the start", ["File, kind, line", "#Deliveries"], rows)


def _daemon(status: Status) -> Html:
    return facts(
        [
            ("Version", status.version),
            ("Started", timestamp(status.started)),
            ("State directory", status.state_dir),
            ("Its volume", _volume(status.volume)),
            ("Index", _index(status)),
            ("Published without the index", counted(status.index_bypassed, "event")),
            ("In Kafka, not yet in the index", counted(status.lag, "record")),
            ("Other instances, last 24 h", str(status.other_instances)),
        ]
    )


def _volume(volume: Volume) -> str:
    return "unknown" if isnan(volume.size) else f"{size(volume.free)} free of {size(volume.size)}"


def _index(status: Status) -> str:
    if status.index_failed:
        return "cannot be used"
    if status.reading is not None:
        reading = status.reading
        left = "" if isinf(reading.seconds_left) else f", about {duration(reading.seconds_left)} left"
        to_read = f": {counted(reading.to_read, 'event')} still to read{left}" if reading.to_read else ""
        return f"reads the log{to_read}"
    return "complete" if status.index_complete else "not complete"
