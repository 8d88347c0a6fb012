"""Overview, for anybody: is anything being lost, is Aurora's budget safe, which event is silent: its first row.

`pipeline` says where it goes wrong.
"""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from aurora_bridge.metrics import BUDGET_SECONDS
from aurora_bridge.outcomes import Reason
from grafana.frame import Section, framed
from grafana.panels import GREEN, ORANGE, OUTCOMES, RED, YELLOW, About, bars, lines, number, times
from grafana.queries import INTERVAL, OBJECTIVE, OUR_FAULT, RANGE, Query, due, missed, quantile

_RESPONSE = "aurora_bridge_response_seconds"
_DAY = 86_400
_LATE = [(3, YELLOW), (8, ORANGE), (BUDGET_SECONDS, RED)]
"""Slow for Kafka, for the disk, for Aurora."""
_LAST = (
    'max by (event) (aurora_bridge_event_last_received_timestamp_seconds{event=~"$event",'
    'event!~"dead_letter|unrecognized"} > 0)'
)
_LONGEST_GAP = f"max_over_time((time() - {_LAST})[2w:1h] offset 1w)"
_A_DAY = f"{_DAY} * group by (event) ({_LAST})"

_FIRST_HEIGHT = 9
"""Lower bars would cut the longest of seven names."""

_ANSWERS = Section(
    "Is anything being lost? Is Aurora's budget of 10 s safe? Which event is silent?",
    (
        number(
            109,
            "Last webhook",
            About(
                "Time since a delivery of any event last came to any instance, those that were refused for their "
                "token not counted.",
                "Minutes in working hours, a weekend at most.",
                "Far longer than usual: Aurora does not reach the bridge (DNS, certificate, load balancer), or its "
                "subscriptions are off. The panel on the right shows which event is silent.",
            ),
            Query("time() - max(aurora_bridge_event_last_received_timestamp_seconds > 0)"),
            unit=units.Seconds,
            steps=[(_DAY, YELLOW), (4 * _DAY, RED)],
            width=4,
            height=_FIRST_HEIGHT,
        ),
        bars(
            110,
            "Lost, or about to be",
            About(
                "5xx (our fault) and 401 (wrong token, or none), dead letters: in the time shown. Webhooks that were "
                "refused and that a retry of Aurora may still bring (retry due), or none any more (missed); events "
                "that Kafka refused for themselves; spools that were found broken: now.",
                "0 everywhere. Strangers of the internet get 401 as well.",
                "5xx: the status page on the admin port says what to do. 401 after a change of the token: put both "
                "into the file. Dead letters: fix a URL template in Aurora. Missed: aurora-bridge "
                "resend request prints what to ask Aurora for. Quarantined: aurora-bridge quarantine list says why. "
                "Broken spools: the runbook AuroraBridgeBrokenFile; counted until somebody deletes the file.",
            ),
            Query(f'sum(increase(aurora_bridge_refusals_total{{reason=~"{OUR_FAULT}"}}{RANGE}))', "5xx"),
            Query(f'sum(increase(aurora_bridge_refusals_total{{reason="{Reason.UNAUTHORIZED.value}"}}{RANGE}))', "401"),
            Query("sum(aurora_bridge_retry_pending_deliveries)", "retry due"),
            Query("sum(aurora_bridge_missed_deliveries)", "missed"),
            Query(f"sum(increase(aurora_bridge_dead_letters_total{RANGE}))", "dead letters"),
            Query("sum(aurora_bridge_spool_quarantined_events)", "quarantined"),
            Query("sum(aurora_bridge_broken_files)", "broken spools"),
            base=GREEN,
            steps=[(0.5, RED)],
            height=_FIRST_HEIGHT,
        ),
        number(
            202,
            "Error budget left, 30 days",
            About(
                f"How much of what may go wrong is left, if {OBJECTIVE:.1%} of the deliveries of 30 days are to be "
                "taken within 10 s. Below 0 %, more went wrong than should.",
                "Above 50 %.",
                "Put off what is risky, an upgrade of Kafka say, and find what spends it: see the burn rate below.",
            ),
            Query(f"1 - {missed('[30d]')} / {due('[30d]')} / {1 - OBJECTIVE:.4f}"),
            unit=units.PercentUnit,
            base=RED,
            steps=[(0.25, YELLOW), (0.5, GREEN)],
            height=_FIRST_HEIGHT,
        ),
        bars(
            111,
            "Most silent events: since the last one, against its longest gap",
            About(
                "Time since a delivery of each event last came to any instance, as a share of its longest gap in two "
                "weeks before the last one; of a day where nothing is known of these. The six "
                "highest; events that never came are not shown.",
                "Below 100 %, nights and weekends included.",
                "Above it: look at the subscription in Aurora. After failures without an end, Aurora switches it off.",
            ),
            Query(f"topk(6, (time() - {_LAST}) / ({_LONGEST_GAP} or {_A_DAY}))", "{{event}}"),
            unit=units.PercentUnit,
            base=GREEN,
            steps=[(1, YELLOW), (2, ORANGE)],
            highest=1,
            height=_FIRST_HEIGHT,
        ),
    ),
)

_NOW = Section(
    "Now",
    (
        number(
            107,
            "Pods that take webhooks",
            About(
                "Pods whose /readyz says 200, now: they can store what comes, in Kafka or on disk. Kubernetes "
                "sends webhooks to no others.",
                "As many as there are replicas; the dashboard Pipeline, Runtime, names them.",
                "At 0, Kubernetes answers Aurora with 503, and no count beside this one moves. Open the status page on "
                "the admin port, its first line says what to do.",
            ),
            Query("sum(aurora_bridge_ready) or vector(0)"),
            base=RED,
            steps=[(1, GREEN)],
            width=6,
        ),
        number(
            106,
            "Kafka",
            About(
                "Whether every instance can write to all its topics, now.",
                "connected.",
                "Events wait on disk meanwhile, nothing is lost while there is room. The dashboard Pipeline, Kafka, "
                "has the reason. Instances that have no Kafka keep their events in their own log.",
            ),
            Query("min(aurora_bridge_kafka_connected + 2 * (1 - aurora_bridge_kafka_configured))"),
            words={"0": ("not connected", RED), "1": ("connected", GREEN), "2": ("own log", GREEN)},
            width=6,
        ),
        number(
            103,
            "Events that wait for Kafka",
            About(
                "Events that are safe on disk and not in Kafka yet, of all instances now. They are published in "
                "order, by themselves, when Kafka takes them. Without a Kafka (embedded log) these are the events "
                "kept.",
                "0.",
                "See the dashboard Pipeline, Spool: how old they are, and how long there is room for more.",
            ),
            Query("sum(aurora_bridge_spool_events)"),
            steps=[(0.5, YELLOW)],
            width=6,
        ),
        number(
            203,
            "Slowest answer",
            About(
                "Bound that every answer kept in the time shown: 8 s means that the slowest took between 6.5 and 8 s. "
                "15 s stands for everything above.",
                "Far below 8 s, where the daemon itself gives up.",
                "See Answer times below for when it was, and the dashboard Pipeline, Stages, for which part was slow.",
            ),
            Query(f"histogram_quantile(1, sum by (le) (increase({_RESPONSE}_bucket{RANGE})))"),
            unit=units.Seconds,
            decimals=1,
            steps=_LATE,
            width=6,
        ),
    ),
)

_TIME = Section(
    "Over time",
    (
        lines(
            301,
            "Deliveries by outcome",
            About(
                "Deliveries a minute, by what became of them: in Kafka, on disk, a duplicate of a known one, a dead "
                "letter, or refused.",
                "Published, with the odd duplicate. By day more than by night.",
                "Spooled: Kafka is away. Refused, or nothing at all in working hours: see the first row.",
            ),
            Query(
                f'60 * sum by (outcome) (rate(aurora_bridge_deliveries_total{{event=~"$event"}}{INTERVAL}))',
                "{{outcome}}",
            ),
            unit=units.CountsPerMinute,
            colors=OUTCOMES,
            stacked=True,
            width=12,
        ),
        lines(
            302,
            "Deliveries by event",
            About(
                "Deliveries a minute, by Aurora's event, its retries included.",
                "The rhythm of your projects: working days, not nights.",
                "One that stops while the others go on: its subscription in Aurora is switched off, or was changed.",
            ),
            Query(
                f'60 * sum by (event) (rate(aurora_bridge_deliveries_total{{event=~"$event"}}{INTERVAL})) > 0',
                "{{event}}",
            ),
            unit=units.CountsPerMinute,
            stacked=True,
            width=12,
        ),
        times(
            207,
            "Answer times",
            About(
                "From the head of the request to the answer, all instances and outcomes: p50, p99 and the "
                "slowest. The scale is logarithmic.",
                "A few milliseconds with Kafka, and all far below the line at which Aurora gives up.",
                "Around 3 s, Kafka did not answer and events went to the disk; around 8 s, the disk did not either. "
                "The dashboard Pipeline tells the stages apart.",
            ),
            Query(quantile(0.5, _RESPONSE), "p50"),
            Query(quantile(0.99, _RESPONSE), "p99"),
            Query(quantile(1, _RESPONSE), "max"),
            width=12,
        ),
        lines(
            208,
            "How fast the error budget is spent",
            About(
                "Burn rate: 1 spends the budget of 30 days in 30 days, 14.4 in two days. One hour shows what is going "
                "on, six hours whether it lasts. A gap means that nothing came.",
                "Below 1.",
                "Above 14.4 in both, act now; above 6, today. The first row says what goes wrong.",
            ),
            Query(f"{missed('[1h]')} / {due('[1h]')} / {1 - OBJECTIVE:.4f}", "1 h"),
            Query(f"{missed('[6h]')} / {due('[6h]')} / {1 - OBJECTIVE:.4f}", "6 h"),
            unit=units.Short,
            steps=[(1, YELLOW), (14.4, RED)],
            width=12,
        ),
    ),
)


def overview() -> Dashboard:
    """Return the dashboard."""
    return framed(
        "overview",
        "Overview",
        "Is anything being lost, is Aurora's budget of 10 s safe, which event is silent.",
        "now-24h",
        _ANSWERS,
        _NOW,
        _TIME,
    )
