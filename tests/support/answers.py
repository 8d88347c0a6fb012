"""Everything that the pure parts answer to the recorded samples and to mutants of them, one line each.

`python -m tests.support.answers` prints the same lines for the compiled build and for the interpreted one; the first
line says which it was. `tests/test_build.py` compares them.
"""

import gc
import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import chain, count
from typing import Final, NamedTuple

from aurora_bridge.build import BUILD
from aurora_bridge.dedup.lifecycle import State
from aurora_bridge.dedup.log_record import read
from aurora_bridge.dedup.recurrence import decide, event_id, new_id_ms
from aurora_bridge.kafka.broker import Broker
from aurora_bridge.kafka.error_actions import ACTIONS, ANY_OTHER, NO_ANSWER, NO_CONNECTION
from aurora_bridge.kafka.linger import Linger
from aurora_bridge.kafka.partition_queue import PartitionQueue, Report
from aurora_bridge.kafka.produce_protocol import ProducerId
from aurora_bridge.kafka.record import Record
from aurora_bridge.metrics import Metrics
from aurora_bridge.outcomes import Malformed, Refusal
from aurora_bridge.redaction import SecretNames, redact_path
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.client_address import client_address
from aurora_bridge.webhook.credentials import Credentials, Secrets, Uses
from aurora_bridge.webhook.dead_letter import dead_letter
from aurora_bridge.webhook.decoding import canonical_name, meant_name
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import encode, encode_binary, identity_of, normalise, rfc3339
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Route, Routes
from aurora_bridge.webhook.trace_context import trace_headers
from aurora_bridge.webhook.url_template import Template
from tests.samples.load import load_samples

SEED: Final = 20
MUTANTS: Final = 20_000

TEMPLATES: Final = (
    "/crm/<PROJECT_ID>/agreements?agreement=<AGREEMENT_ID>&status=<STATUS>",
    "/hooks?kind=agreement&a=<AGREEMENT_ID>&p=<PROJECT_ID>&s=<STATUS>&token=secret",
    "/v/s-<PROJECT_ID>.json?a=<AGREEMENT_ID>&status=<STATUS>",
)
PIECES: Final = (
    *(b"%61", b"%2561", b"+", b"%20", b"%", b"%zz", b"%00", b"%ff", b"%c3%a9", b"%c0%af", b"%3CSTATUS%3E", b"null"),
    *(b"&", b"&amp;", b"=", b"?", b"/", b"//", b"..", b";", b"[]", b"{status}", b"$STATUS", b"x" * 300, b"\xc3\xa9"),
    *(
        b"status=signed",
        b"&token=secret",
        b"&aurora_event=lead_created",
        b"/crm/1/agreements",
        b"PROJECT_ID",
        b"0" * 32,
    ),
)


class Known(NamedTuple):
    """What is known of a fingerprint."""

    state: State
    time_ms: int
    attempt_ms: int


def main() -> None:
    """Print all of it."""
    print(BUILD)
    for line in chain(_webhooks(), _decisions(), _queues(), _lingers()):
        print(line)
    gc.collect()
    print("exceptions that never left memory:", sum(isinstance(one, Refusal | Malformed) for one in gc.get_objects()))


def _attempt(ask: Callable[[], object]) -> str:
    """Return an answer, or what was raised in its place."""
    try:
        return repr(ask())
    except (Refusal, Malformed) as refused:
        return f"{type(refused).__name__} {refused} {vars(refused)}"
    except Exception as error:  # noqa: BLE001 - both builds must have the same faults, too
        return f"{type(error).__name__} {error}"


def _targets(chance: random.Random) -> Iterator[bytes]:
    samples = [sample.target for sample in load_samples()]
    yield from samples
    written = [template.encode() for template in TEMPLATES]
    for _ in range(MUTANTS):
        target = chance.choice(chance.choice((samples, samples, samples, written)))
        for _ in range(chance.randrange(4)):
            at, to = sorted(chance.randrange(len(target) + 1) for _ in range(2))
            piece = chance.choice(PIECES)
            target = chance.choice((target[:at] + piece + target[at:], target[:at] + target[to:], target + piece))
        yield target


def _routes(uses: Uses) -> list[Routes]:
    tokens = Secrets("tokens", ("header", "query"), uses)
    tokens.replace([b"secret", b"another"])
    basic = Secrets("pairs", ("basic",), uses)
    basic.replace([b"user:pass:word"])
    credentials = Credentials("X-Token", tokens, basic, "token", uses=uses)
    strict = Rules(SecretNames(["token"]), 5_000_000)
    secrets = SecretNames(["token", "api_key"])
    lenient = Rules(secrets, 0, volatile=frozenset({"status"}))
    default = Route("default", "default", Credentials("X-Token", tokens, anonymous=True, uses=uses), strict)
    written = [
        Route(f"written-{number}", "tenant", credentials, lenient, Template(text, secrets), "agreement_status_changed")
        for number, text in enumerate(TEMPLATES)
    ]
    return [Routes("/", default, written), Routes("/base", default), Routes("/", None, written)]


def _headers(chance: random.Random) -> list[tuple[bytes, bytes]]:
    known = (
        (b"X-Token", b"secret"),
        (b"x-token", b"wrong"),
        (b"Authorization", b"Basic dXNlcjpwYXNzOndvcmQ="),
        (b"Authorization", b"basic %%%"),
        (b"Sec-Fetch-Site", b"cross-site"),
        (b"X-Forwarded-For", b"203.0.113.7, 2001:db8::1"),
        (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
        (b"tracestate", b"a=1,b=2,,c=3"),
    )
    return chance.sample(known, chance.randrange(4))


def _webhooks() -> Iterator[str]:
    chance = random.Random(SEED)
    uses: Uses = {}
    routes = _routes(uses)
    for number, target in enumerate(_targets(chance)):
        method = "GET" if chance.random() < 0.98 else "POST"
        delivery = Delivery(method, target, _headers(chance), 10**15 + number, float(number), "192.0.2.1")
        for each in routes:
            yield _attempt(lambda each=each, delivery=delivery: _event(each, delivery))  # type: ignore[misc]
        text = target.decode("latin-1")
        yield repr((canonical_name(text), meant_name(text), redact_path(target), SecretNames(["token"]).redact(text)))
        yield repr((trace_headers(delivery.headers), client_address(delivery, ()), routes[0].is_known_path(target)))
    yield repr(uses)


def _event(routes: Routes, delivery: Delivery) -> object:
    """Return all that becomes of a delivery before it is sent."""
    match = routes.match(delivery)
    match.route.credentials.admit(delivery)
    try:
        event = normalise(match)
    except Malformed as malformed:
        event = dead_letter(match, malformed.reason, match.route.rules.secrets.redact_target(delivery.target), 200)
    time_ms = delivery.received_us // 1000
    key = event_id(event.fingerprint, event.recurrence, time_ms, new_id_ms(event.recurrence, time_ms, complete=True))
    time = rfc3339(delivery.received_us)
    value = encode(event, key, time, repeat=False)
    binary = encode_binary(event, key, time, repeat=True)
    return match.event, event, value, binary, identity_of(value, ()), read(value, (), time_ms)


def _decisions() -> Iterator[str]:
    chance = random.Random(SEED)
    day_ms = 86_400_000
    for _ in range(MUTANTS):
        now = 10**12 + chance.randrange(2 * day_ms)
        elapsed = chance.choice((chance.randrange(60_000), chance.randrange(day_ms), -chance.randrange(day_ms)))
        known = Known(chance.choice(list(State)), now - chance.randrange(day_ms) + 1000, now - elapsed)
        recurrence = chance.choice(list(Recurrence))
        latest, complete, resend = (chance.random() < share for share in (0.5, 0.5, 0.1))
        window = chance.choice((0, 5000, 3_600_000))
        decided = decide(recurrence, known, now, window, is_latest=latest, complete=complete, resend=resend)
        yield repr((decided, event_id("f" * 32, recurrence, known.time_ms, chance.choice((0, now)))))


def _queues() -> Iterator[str]:
    """Drive partition queues through answers in any order."""
    chance = random.Random(SEED)
    answers = [*ACTIONS.values(), ANY_OTHER, NO_ANSWER, NO_CONNECTION]
    for _ in range(200):
        queue, numbers, now = PartitionQueue("topic", 1), count(), 0.0
        records: list[Record] = []
        for _ in range(60):
            now += chance.random() * 3
            made = [Record("event", b"%d" % next(numbers), b"v" * chance.randrange(2000), [], b"k") for _ in range(3)]
            records += made
            queue.waiting.extend(made)
            data = queue.load(ProducerId(chance.choice((-1, 7)), 0), 0, chance.choice((500, 5000, 200_000)))
            queue.sent()
            action, reason = chance.choice(answers)
            told = queue.apply(action, reason, now, chance.randrange(100))
            taken = queue.withdraw(set(chance.sample(records, 3))) if chance.random() < 0.2 else set()
            state = queue.state, queue.doubtful, queue.producer, len(queue.waiting), round(queue.retry_at, 6)
            yield repr((sha256(data).hexdigest(), _told(told), sorted(record.key for record in taken), state))
        yield repr((_told(queue.give_up()[1]), list(queue.stored.take())))


def _told(told: list[Report]) -> object:
    return [([record.key for record in records], report) for records, report in told]


def _lingers() -> Iterator[str]:
    chance = random.Random(SEED)
    broker, linger = Broker(1, Metrics()), Linger()
    for _ in range(2000):
        seconds = chance.choice((0.001, 0.1, 1.0, 3.0)) * chance.random()
        broker.answered(chance.randrange(10**6), seconds, 1.0, chance.choice((0.0, 0.0, 2.0)))
        linger.note(chance.randrange(100), seconds)
        yield repr((broker.limit_bytes, broker.open_at, linger.gap_seconds))


if __name__ == "__main__":
    main()
