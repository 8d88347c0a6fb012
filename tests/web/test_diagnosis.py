"""The first line of the status page, and what else deserves a look."""

from math import inf

import pytest

from aurora_bridge.aurora.checks import Check
from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.inspection import SUBSCRIPTION_REMEDIES
from aurora_bridge.aurora.watch import Seen
from aurora_bridge.auto_disable.attempts import Subscription
from aurora_bridge.bridge import DeadLetter
from aurora_bridge.dedup.outstanding import Outstanding
from aurora_bridge.dedup.resend import Declaration
from aurora_bridge.garbled_templates import GarbledTemplate
from aurora_bridge.kafka.problem_reasons import Problem
from aurora_bridge.outcomes import DeadLetterReason, Reason
from aurora_bridge.remedies import AUTO_DISABLE
from aurora_bridge.web.diagnosis import LAG_RECORDS, RECENT_SECONDS, Level, diagnose
from aurora_bridge.web.status import Reading, Status
from tests.web.statuses import AWAY, KAFKA, NOW, QUIET, SPOOL, found, refused

UNREACHABLE = Problem("unreachable", "kafka:9092")
DEAD_LETTER = DeadLetter(NOW - 60, DeadLetterReason.NOT_UTF8, "lead_created", "default", "the-id")
GARBLED = QUIET._replace(
    garbled_templates=[(GarbledTemplate(NOW - 60, "lead_created", "default", "default", ("amp;source",)), "")]
)
UNSEEN = AuroraError(ApiReason.UNAUTHORIZED, "GET /tenants/t-1/webhooks", "Aurora does not accept the API key (401)")
FULL = SPOOL._replace(bytes=990_000, full=True)
INCOMPLETE = QUIET._replace(index_complete=False)
FAILED = INCOMPLETE._replace(index_failed=True)


@pytest.mark.parametrize(
    ("status", "level", "said"),
    [
        (QUIET, Level.GOOD, "Nothing is being lost"),
        (QUIET._replace(kafka=None), Level.GOOD, "without a Kafka, events are kept in the embedded log"),
        (AWAY, Level.LOOK, "Nothing is lost: events wait in the spool while Kafka is away"),
        (
            QUIET._replace(topics=[QUIET.topics[0], AWAY.topics[1]]),
            Level.LOOK,
            "Nothing is lost: events wait in the spool while Kafka has no leader for 1 topic",
        ),
        (
            QUIET._replace(topics=[topic._replace(waiting=2) for topic in QUIET.topics]),
            Level.LOOK,
            "Nothing is lost: 4 events on the way from the spool to Kafka",
        ),
        (AWAY._replace(spool=FULL, ready=False), Level.BAD, "refused: the spool is full, and Kafka is away"),
        (AWAY._replace(spool=None, ready=False), Level.BAD, "refused: Kafka is away, and there is no spool"),
        (QUIET._replace(kafka=None, spool=FULL, ready=False), Level.BAD, "refused: the embedded log is full"),
        (
            QUIET._replace(spool=SPOOL._replace(failed=True), ready=False),
            Level.BAD,
            "refused: the disk of the spool failed",
        ),
        (QUIET._replace(stopping=True, ready=False), Level.LOOK, "The daemon is stopping"),
        (refused(Reason.TOO_LATE, 60), Level.BAD, "Webhooks are being refused: too_late, 1 min ago"),
        (refused(Reason.UNAUTHORIZED, 60, "/lead_created"), Level.LOOK, "requests are refused that may be Aurora's"),
        (refused(Reason.NO_ROUTE, 60, "/hooks/lead_created"), Level.LOOK, "requests are refused that may be Aurora's"),
        (
            refused(Reason.MALFORMED_WITH_CREDENTIAL, 60, "/lead_created"),
            Level.LOOK,
            "requests are refused that may be Aurora's",
        ),
        (refused(Reason.UNAUTHORIZED, 60), Level.GOOD, "Nothing is being lost"),
        (refused(Reason.NO_ROUTE, 60), Level.GOOD, "Nothing is being lost"),
        (refused(Reason.METHOD_NOT_ALLOWED, 60, "/lead_created"), Level.GOOD, "Nothing is being lost"),
        (refused(Reason.NO_ROUTE, RECENT_SECONDS + 1, "/lead_created"), Level.GOOD, "Nothing is being lost"),
        (refused(Reason.MALFORMED_HTTP, 60), Level.GOOD, "Nothing is being lost"),
        (refused(Reason.TOO_LATE, RECENT_SECONDS + 1), Level.GOOD, "Nothing is being lost"),
    ],
    ids=str,
)
def test_the_first_line_says_whether_anything_is_being_lost(status: Status, level: Level, said: str) -> None:
    line = diagnose(status)[0]
    assert line.level is level
    assert said in line.text


@pytest.mark.parametrize(
    "status",
    [AWAY._replace(spool=FULL, ready=False), AWAY._replace(spool=None, ready=False), refused(Reason.OVERLOADED, 1)],
    ids=str,
)
def test_what_is_refused_comes_with_a_remedy(status: Status) -> None:
    assert diagnose(status)[0].remedy


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (QUIET._replace(kafka=KAFKA._replace(problems=[UNREACHABLE])), "Kafka, kafka:9092: unreachable"),
        (QUIET._replace(last_dead_letters=[DEAD_LETTER]), "A delivery became a dead letter: not_utf8, 1 min ago"),
        (GARBLED, "A URL template in Aurora is garbled: that of lead_created"),
        (refused(Reason.NO_ROUTE, 60, "/a/lead_created"), "no_route, /a/lead_created from 192.0.2.7, 1 min ago"),
        (QUIET._replace(spool=SPOOL._replace(quarantined=2)), "2 events; they are quarantined"),
        (QUIET._replace(spool=SPOOL._replace(bytes=800_000)), "The spool is full to 80 %"),
        (
            QUIET._replace(spool=SPOOL._replace(limit_bytes=2**30, room_bytes=80 * 2**20)),
            "The spool may take 1.0 GiB, but its volume has room for 80 MiB of it",
        ),
        (QUIET._replace(spool=None), "There is no spool"),
        (QUIET._replace(oldest_unanswered=6.0), "A delivery has waited 6 s for its answer"),
        (FAILED, "The index cannot be used"),
        (FAILED._replace(reading=Reading(0, 0, inf)), "The index cannot be used"),
        (INCOMPLETE, "The index does not know all events of today"),
        (INCOMPLETE._replace(reading=Reading(0, 0, inf)), "The log is still to be read into the index"),
        (
            INCOMPLETE._replace(reading=Reading(240_000, 760_000, 19.4), lag=760_000),
            "Reading the log into the index: 240,000 of 1,000,000 events, about 19 s left",
        ),
        (QUIET._replace(lag=LAG_RECORDS + 1), "The index lags 1,001 records behind Kafka"),
        (
            QUIET._replace(outstanding=Outstanding({"lead_created": 2}, {}, 1_800_084_930_000, 1_800_101_916_000)),
            "Aurora still owes 2 deliveries that were refused; the last is due by 2027-01-16 07:35:30 UTC",
        ),
        (
            QUIET._replace(outstanding=Outstanding({}, {"lead_created": 1}, 0, 0)),
            "1 delivery can no longer come: refused, and Aurora's retries are over",
        ),
        (
            QUIET._replace(resend=Declaration(int(NOW) * 1000 - 1, int(NOW) * 1000 + 1, 1204, 17)),
            "A re-send is declared, until 2027-01-15 08:00:00 UTC: 1,204 deliveries were known, 17 new",
        ),
        (QUIET._replace(takes_from_anyone=True), "Anyone who reaches the proxy in front can forge events"),
        (QUIET._replace(failing_files=["/etc/tokens"]), "/etc/tokens cannot be used"),
        (
            QUIET._replace(subscriptions=found(Check.NO_ROUTE)),
            "Subscriptions in Aurora, id-1, lead_created: this is wrong",
        ),
        (
            QUIET._replace(subscriptions=found(Check.NOT_COVERED, "lead_changed", "lead_created")),
            "Subscriptions in Aurora, lead_changed and 1 other event: this is wrong",
        ),
        (
            QUIET._replace(subscriptions=found(Check.SWITCHED_OFF, "lead_changed", where="id-2, lead_changed")),
            "Subscriptions in Aurora, id-2, lead_changed: this is wrong",
        ),
        (
            QUIET._replace(subscriptions=Seen(error=UNSEEN)),
            "Aurora's subscriptions cannot be listed: GET /tenants/t-1/webhooks: Aurora does not accept the API key",
        ),
        (
            QUIET._replace(subscriptions=Seen(NOW - 7200, error=UNSEEN)),
            "Aurora's subscriptions cannot be listed, the last time was 2 h ago: GET /tenants/t-1/webhooks",
        ),
    ],
    ids=str,
)
def test_what_deserves_a_look_is_said_below(status: Status, said: str) -> None:
    (line,) = diagnose(status)[1:]
    assert line.level is Level.LOOK
    assert said in line.text


def test_an_event_whose_subscriptions_are_all_off_is_bad_and_comes_with_the_command() -> None:
    (line,) = diagnose(QUIET._replace(subscriptions=found(Check.SWITCHED_OFF)))
    assert (line.level, line.text) == (
        Level.BAD,
        "Aurora's subscription of lead_created is off: nothing arrives from it",
    )
    assert "aurora-bridge subscriptions reenable" in line.remedy


def test_subscriptions_with_the_same_problem_share_a_line() -> None:
    seen = found(Check.NO_ROUTE)
    twice = seen._replace(inspection=seen.inspection._replace(findings=[*seen.inspection.findings] * 2))
    (line,) = diagnose(QUIET._replace(subscriptions=twice))[1:]
    assert line.text == "Subscriptions in Aurora, id-1, lead_created: this is wrong (and 1 other like it)"
    assert line.remedy == SUBSCRIPTION_REMEDIES[Check.NO_ROUTE]


def test_how_long_the_reading_takes_is_not_said_where_nobody_knows() -> None:
    (line,) = diagnose(INCOMPLETE._replace(reading=Reading(95, 5, inf)))[1:]
    assert line.text == "Reading the log into the index: 95 of 100 events"


def test_a_spool_that_was_moved_away_may_mean_a_loss_until_its_file_is_deleted() -> None:
    (line,) = diagnose(QUIET._replace(broken_spools=["spool.db.broken-1"]))
    assert line.level is Level.BAD
    assert "may have been lost" in line.text
    assert "spool.db.broken-1" in line.text


def test_what_may_have_been_lost_goes_before_what_waits_and_behind_what_is_refused() -> None:
    for status, texts in (
        (AWAY, ["Events may have been lost", "Nothing is lost: events wait in the spool while Kafka is away"]),
        (refused(Reason.TOO_LATE, 1), ["Webhooks are being refused", "Events may have been lost"]),
    ):
        lines = diagnose(status._replace(broken_spools=["spool.db.broken-1"]))
        assert all(line.text.startswith(text) for line, text in zip(lines, texts, strict=True))


def test_a_small_volume_is_as_full_as_it_is() -> None:
    spool = SPOOL._replace(bytes=82 * 2**20, limit_bytes=2**30, room_bytes=100 * 2**20)
    assert [line.text for line in diagnose(QUIET._replace(spool=spool))][1:] == [
        "The spool may take 1.0 GiB, but its volume has room for 100 MiB of it",
        "The spool is full to 82 %",
    ]


def test_since_when_kafka_is_away_is_said_and_when_the_spool_is_full() -> None:
    kafka, spool = KAFKA._replace(away_since=NOW - 180), SPOOL._replace(full_in_seconds=7300.0)
    away = diagnose(AWAY._replace(kafka=kafka, spool=spool))[0]
    since = "Away since 2027-01-15 07:57:00 UTC (3 min)."
    assert away.remedy.startswith(f"{since} By its growth of the last minutes, the spool is full in 2 h. They are")
    assert diagnose(AWAY)[0].remedy.startswith("They are published in order")


def test_of_a_quiet_daemon_nothing_more_is_said() -> None:
    old = DEAD_LETTER._replace(time=NOW - RECENT_SECONDS - 1)
    fixed = [(garbled._replace(time=old.time), url) for garbled, url in GARBLED.garbled_templates]
    quiet = QUIET._replace(
        garbled_templates=fixed, lag=LAG_RECORDS, spool=SPOOL._replace(bytes=790_000), last_dead_letters=[old]
    )
    assert diagnose(quiet)[1:] == []


FAILING = Subscription("default", "lead_created", 50, 40, 30, 600.0)
SAFE = FAILING._replace(event="lead_changed", in_a_row=19, seconds_left=inf)


@pytest.mark.parametrize(
    ("failing", "when"),
    [
        ([FAILING, SAFE], ", at this rate in 10 min: its last 30 attempts failed"),
        ([FAILING._replace(seconds_left=0.0), FAILING], ", and 1 other at any moment: its last 30 attempts failed"),
        ([FAILING._replace(seconds_left=inf)], ": its last 30 attempts failed"),
    ],
)
def test_a_subscription_that_aurora_may_switch_off_is_the_first_line(failing: list[Subscription], when: str) -> None:
    text = f"Aurora may switch off the subscription of lead_created{when}"
    assert diagnose(QUIET._replace(failing=failing)) == [(Level.BAD, text, AUTO_DISABLE)]


def test_of_a_path_without_a_route_no_subscription_is_named() -> None:
    astray = FAILING._replace(route="none", event="none", seconds_left=inf)
    (line,) = diagnose(QUIET._replace(failing=[astray]))
    assert line.text.startswith("Aurora may switch off a subscription whose URL has no route: its last 30 attempts")


def test_why_webhooks_are_refused_comes_before_it() -> None:
    refusing, failing, *_ = diagnose(refused(Reason.TOO_LATE, 60)._replace(failing=[FAILING]))
    assert refusing.text.startswith("Webhooks are being refused")
    assert "switch off" in failing.text


def test_a_row_that_is_short_is_no_line() -> None:
    assert diagnose(QUIET._replace(failing=[SAFE])) == diagnose(QUIET)
