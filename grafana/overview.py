"""Overview, for anybody: is anything being lost, is Aurora's budget safe, what arrives.

`pipeline` says where it goes wrong.
"""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from aurora_bridge.metrics import BUDGET_SECONDS
from grafana.frame import Section, framed
from grafana.panels import GREEN, ORANGE, OUTCOMES, RED, YELLOW, About, bars, lines, number, times
from grafana.queries import AT_THE_DOOR, INTERVAL, OBJECTIVE, OUR_FAULT, RANGE, Query, due, missed, quantile

_RESPONSE = "aurora_bridge_response_seconds"
_DAY = 86_400
_LATE = [(3, YELLOW), (8, ORANGE), (BUDGET_SECONDS, RED)]
"""Slow for Kafka, for the disk, for Aurora."""

_LOST = Section(
    "Is anything being lost?",
    (
        number(
            109,
            "Last webhook",
            About(
                "Time since a delivery of any event last came to any instance, those that were refused for their "
                "token not counted.",
                "Minutes in working hours, a weekend at most.",
                "Far longer than usual: Aurora does not reach the bridge (DNS, certificate, load balancer), or its "
                "subscriptions are off. The dashboard Aurora shows which event is silent.",
            ),
            Query("time() - max(aurora_bridge_event_last_received_timestamp_seconds > 0)"),
            unit=units.DurationSeconds,
            steps=[(_DAY, YELLOW), (4 * _DAY, RED)],
            width=6,
        ),
        number(
            107,
            "Instances that take webhooks",
            About(
                "Instances whose /readyz says 200, now: they can store what comes, in Kafka or on disk. Kubernetes "
                "sends webhooks to no others.",
                "As many as there are replicas.",
                "At 0, Kubernetes answers Aurora with 503, and no count beside this one moves. Open the status page on "
                "the admin port, its first line says what to do.",
            ),
            Query("sum(aurora_bridge_ready) or vector(0)"),
            base=RED,
            steps=[(1, GREEN)],
            width=6,
        ),
        number(
            101,
            "Webhooks we could not take",
            About(
                "Deliveries answered with a 5xx in the time shown: neither Kafka nor the disk took them in time. "
                "Aurora tries each again, up to five times within 24 h; after the last one it is lost. What is "
                "answered in the place of instances that take none is not counted.",
                "0.",
                "Open the status page on the admin port, its first line says what to do; the reasons are in the "
                "dashboard Pipeline, Refusals.",
            ),
            Query(f'sum(increase(aurora_bridge_refusals_total{{reason=~"{OUR_FAULT}"}}{RANGE}))'),
            steps=[(0.5, RED)],
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
            108,
            "Broken spools",
            About(
                "Spools that were found corrupt at a start, and moved: events that were answered 2xx and waited for "
                "Kafka are lost, unless they could be read.",
                "0.",
                "The runbook AuroraBridgeBrokenFile says how to find out what is lost, and how to get it again. It is "
                "counted until somebody deletes the file.",
            ),
            Query("sum(aurora_bridge_broken_files)"),
            steps=[(0.5, RED)],
            width=6,
        ),
        number(
            105,
            "Dead letters",
            About(
                "Deliveries with a good token that carried no readable event, in the time shown. They are kept in the "
                "dead-letter topic, but no consumer of events sees them.",
                "0.",
                "See the dashboard Aurora, What is not understood: most likely a URL template in Aurora wants mending.",
            ),
            Query(f"sum(increase(aurora_bridge_dead_letters_total{RANGE}))"),
            steps=[(0.5, YELLOW)],
            width=6,
        ),
        number(
            102,
            "Requests turned away",
            About(
                "Requests refused for what they are, in the time shown: a wrong or missing token, an unknown path, no "
                "GET, a URL too long. Aurora's own among them are lost after its retries.",
                "0, or a few from scanners of the internet.",
                "See the dashboard Aurora, Refusals: many unauthorized ones after a change of the token are webhooks "
                "that get lost.",
            ),
            Query(f'sum(increase(aurora_bridge_refusals_total{{reason=~"{AT_THE_DOOR}"}}{RANGE}))'),
            steps=[(0.5, YELLOW)],
            width=6,
        ),
    ),
)

_BUDGET = Section(
    "Is Aurora's budget of 10 s safe?",
    (
        number(
            201,
            "Taken within 10 s",
            About(
                "Share of deliveries in the time shown that were answered with a 2xx within Aurora's 10 s. What was "
                "turned away for its token, path or length does not count; dead letters count as taken, they are "
                "kept.",
                f"{OBJECTIVE:.1%} or more.",
                "See the panels beside it for whether answers are late or refused, then the dashboard Pipeline, "
                "Stages.",
            ),
            Query(f"1 - {missed(RANGE)} / {due(RANGE)}"),
            unit=units.PercentUnit,
            decimals=2,
            base=RED,
            steps=[(OBJECTIVE, GREEN)],
        ),
        number(
            202,
            "Error budget left, 30 days",
            About(
                f"How much of what may go wrong is left, if {OBJECTIVE:.1%} of the deliveries of 30 days are to be "
                "taken within 10 s. Below 0 %, more went wrong than should.",
                "Above 50 %.",
                "Put off what is risky, an upgrade of Kafka say, and find what spends it: the panel to the right.",
            ),
            Query(f"1 - {missed('[30d]')} / {due('[30d]')} / {1 - OBJECTIVE:.4f}"),
            unit=units.PercentUnit,
            decimals=1,
            base=RED,
            steps=[(0.25, YELLOW), (0.5, GREEN)],
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
        ),
        number(
            204,
            "Oldest unanswered",
            About(
                "Age of the delivery that has waited longest for its answer, now. Times of answers cannot show what "
                "is stuck; this does.",
                "Well below 1 s.",
                f"At {BUDGET_SECONDS} s Aurora gives up and tries again later. The dashboard Pipeline, Stages, shows "
                "what deliveries wait for.",
            ),
            Query("max(aurora_bridge_oldest_unanswered_seconds)"),
            unit=units.Seconds,
            decimals=1,
            steps=_LATE,
        ),
        number(
            205,
            "Answers after 10 s",
            About(
                "Deliveries answered after Aurora had given up, in the time shown. Aurora counts them as failures and "
                "sends them again; the bridge expects that and takes them for duplicates.",
                "0.",
                "See the dashboard Pipeline, Stages, for what was slow at the time.",
            ),
            Query(
                f"sum(increase({_RESPONSE}_count{RANGE}))"
                f' - sum(increase({_RESPONSE}_bucket{{le="{BUDGET_SECONDS:.1f}"}}{RANGE}))'
            ),
            steps=[(0.5, RED)],
        ),
        number(
            206,
            "Instances",
            About(
                "Processes of the daemon that Prometheus reaches, now.",
                "As many as there are replicas.",
                "One that is missing is down, or its admin port is not reached. Aurora's webhooks go to the others.",
            ),
            Query("count(aurora_bridge_build_info) or vector(0)"),
            base=RED,
            steps=[(1, GREEN)],
        ),
        times(
            207,
            "Answer times",
            About(
                "From the head of the request to the answer, all instances and outcomes: what half of the deliveries, "
                "99 %, and all of them kept. The scale is logarithmic.",
                "A few milliseconds with Kafka, and all far below the line at which Aurora gives up.",
                "Around 3 s, Kafka did not answer and events went to the disk; around 8 s, the disk did not either. "
                "The dashboard Pipeline tells the parts apart.",
            ),
            Query(quantile(0.5, _RESPONSE), "half"),
            Query(quantile(0.99, _RESPONSE), "99 %"),
            Query(quantile(1, _RESPONSE), "all"),
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

_ARRIVES = Section(
    "What arrives?",
    (
        lines(
            301,
            "Deliveries by outcome",
            About(
                "Deliveries a minute, by what became of them: in Kafka, on disk, a duplicate of a known one, a dead "
                "letter, or refused.",
                "Published, with the odd duplicate. By day more than by night.",
                "Spooled: Kafka is away. Refused: see the first row. Nothing at all in working hours: see the "
                "dashboard Aurora, Silence.",
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
        bars(
            302,
            "Deliveries by event",
            About(
                "Deliveries in the time shown, by Aurora's event, without those that never came.",
                "The events that your subscriptions in Aurora name.",
                "An event that is missing has no subscription, or its subscription is switched off. unrecognized: an "
                "event that this version does not know; it is kept in a topic of its own.",
            ),
            Query(
                f'sort_desc(sum by (event) (increase(aurora_bridge_deliveries_total{{event=~"$event"}}{RANGE})) > 0.5)',
                "{{event}}",
            ),
            width=12,
        ),
    ),
)


def overview() -> Dashboard:
    """Return the dashboard."""
    return framed(
        "overview",
        "Overview",
        "Is anything being lost, is Aurora's budget of 10 s safe, what arrives.",
        "now-24h",
        _LOST,
        _BUDGET,
        _ARRIVES,
    )
