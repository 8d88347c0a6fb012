"""Aurora, for whoever owns the integration: what Aurora sends, retries, turns away, and what is not understood of it.

What the bridge does with it is in `pipeline`.
"""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from aurora_bridge.attempts import DISABLED_AT, WARNED_AT
from aurora_bridge.dedup.recurrence import Interval
from aurora_bridge.refusal import Reason
from aurora_bridge.webhook.catalogue import UNRECOGNIZED
from grafana.frame import Section, framed
from grafana.panels import BLUE, GREEN, ORANGE, RED, YELLOW, About, bars, lines, number
from grafana.queries import AT_THE_DOOR, INTERVAL, RANGE, Query

_DAY = 86_400
_LAST = 'max by (event) (aurora_bridge_event_last_received_timestamp_seconds{event=~"$event"} > 0)'
_LONGEST_GAP = f"max_over_time((time() - {_LAST})[2w:1h] offset 1w)"
_A_DAY = f"{_DAY} * group by (event) ({_LAST})"
_RETRIES = f'interval!~"{Interval.ECHO.value}|{Interval.NONE.value}"'

_SENT = Section(
    "Silence: what comes, and what does not come any more",
    (
        lines(
            101,
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
        bars(
            102,
            "Since the last one, against its longest gap",
            About(
                "Time since a delivery of each event last came to any instance, as a share of its longest gap in two "
                "weeks before the last one; of a day where nothing is known of these. Events that never came are not "
                "shown.",
                "Below 100 %, nights and weekends included.",
                "Above it: look at the subscription in Aurora. After failures without an end, Aurora switches it off.",
            ),
            Query(f"sort_desc((time() - {_LAST}) / ({_LONGEST_GAP} or {_A_DAY}))", "{{event}}"),
            unit=units.PercentUnit,
            base=GREEN,
            steps=[(1, YELLOW), (2, ORANGE)],
            width=12,
        ),
    ),
)

_RETRIED = Section(
    "Retries: what Aurora sends again",
    (
        bars(
            201,
            "Retries by interval",
            About(
                "Deliveries in the time shown that brought a known event, by the interval of Aurora's schedule that "
                "they fit: 30s, 5min, 30min, 3h, 20h after the attempt before. echo: at once, two subscriptions "
                "alike, say. re-send: of one that was declared. none: at some other time, when Aurora does not retry.",
                "0, or a few echoes.",
                "30s and later: Aurora did not get our 2xx in time; compare with Expected retries. Only later ones: "
                "the earlier attempts did not come through to us. none: perhaps other events that look alike; see the "
                "runbook AuroraBridgeStrayDuplicates.",
            ),
            *(
                Query(
                    f'sum(increase(aurora_bridge_duplicates_total{{event=~"$event",interval="{name}"}}{RANGE}))', name
                )
                for name in [interval.value for interval in Interval]
            ),
        ),
        lines(
            202,
            "Duplicates by event",
            About(
                "Deliveries a minute that brought a known event, and were answered 200 without publishing it again.",
                "None, or few.",
                "One event only: two subscriptions for it? All events: our answers do not reach Aurora in time.",
            ),
            Query(
                f'60 * sum by (event) (rate(aurora_bridge_duplicates_total{{event=~"$event"}}{INTERVAL})) > 0',
                "{{event}}",
            ),
            unit=units.CountsPerMinute,
            stacked=True,
        ),
        lines(
            203,
            "Repeats by event",
            About(
                "Events a minute that were published although their content was seen before: a state that came back, "
                "or a signal such as lead_changed again. Aurora's retries of a signal are among them.",
                "Some: signals repeat.",
                "Many of a state: compare INDEX__REPEAT_WINDOW_SECONDS with the filters of the subscription.",
            ),
            Query(
                f'60 * sum by (event) (rate(aurora_bridge_repeats_total{{event=~"$event"}}{INTERVAL})) > 0',
                "{{event}}",
            ),
            unit=units.CountsPerMinute,
            stacked=True,
        ),
        number(
            204,
            "Expected retries",
            About(
                "Events in the time shown that we took, but whose 2xx may not have reached Aurora in time: the "
                "client was gone, or 10 s were over. Aurora will send each again, and it will be taken for a "
                "duplicate.",
                "0.",
                "A proxy in front with a time-out below 10 s, or answers that are slow: see the dashboard Pipeline.",
            ),
            Query(f"sum(increase(aurora_bridge_expected_retries_total{RANGE}))"),
            steps=[(0.5, YELLOW)],
            width=12,
        ),
        number(
            205,
            "Retries that were duplicates",
            About(
                "Deliveries in the time shown that fit Aurora's schedule and brought a known event.",
                "0.",
                "Far above Expected retries: our answers get lost behind us, in the proxy or the network.",
            ),
            Query(f'sum(increase(aurora_bridge_duplicates_total{{event=~"$event",{_RETRIES}}}{RANGE}))'),
            steps=[(0.5, YELLOW)],
            width=12,
        ),
        lines(
            206,
            "Refused, and Aurora will retry",
            About(
                "Deliveries that were refused behind their credentials and may still come by Aurora's retries, by "
                "event. One that two instances refused counts at both.",
                "0.",
                "It falls as retries come. Where it does not, see in Aurora whether the subscription is still on.",
            ),
            Query('sum by (event) (aurora_bridge_retry_pending_deliveries{event=~"$event"}) > 0', "{{event}}"),
            unit=units.NoUnit,
            stacked=True,
            width=12,
        ),
        lines(
            207,
            "Refused, and retries are over",
            About(
                "Deliveries that were refused and can no longer come by themselves, by event, of the last 30 days.",
                "0.",
                "aurora-bridge resend request prints what to ask Aurora for, resend begin declares that it comes.",
            ),
            Query('sum by (event) (aurora_bridge_missed_deliveries{event=~"$event"}) > 0', "{{event}}"),
            unit=units.NoUnit,
            stacked=True,
            width=12,
        ),
        number(
            208,
            "Last retry to come within",
            About(
                "Time until the last of Aurora's retries has come, even if it is late by a fifth.",
                "Nothing.",
                "Wait for it, and look then at what can no longer come.",
            ),
            Query("max(aurora_bridge_retry_pending_until_timestamp_seconds > 0) - time()"),
            unit=units.DurationSeconds,
            width=12,
        ),
        number(
            209,
            "Re-send declared",
            About(
                "Instances to which a re-send was declared (aurora-bridge resend begin).",
                "0; while Aurora sends again, all instances.",
                "Some only: run resend begin in the others. Forgotten: resend end. It ends by itself after 24 h.",
            ),
            Query("sum(aurora_bridge_resend_in_progress)"),
            steps=[(0.5, YELLOW)],
            width=12,
        ),
    ),
)

_REFUSED = Section(
    "Refusals: each burns one of Aurora's retries",
    (
        lines(
            301,
            "Refusals by reason",
            About(
                "Requests a minute that were refused, by reason. Aurora tries its own again, up to five times in 24 "
                "h, and counts them toward switching the subscription off.",
                "None, or some no_route from scanners of the internet.",
                "unauthorized: the token in Aurora is not the one here; give the old one back until both sides have "
                "the new one. no_route: the URL in Aurora. target_too_long: INGRESS__MAX_TARGET_BYTES. "
                "malformed_with_credential: what is in front of the daemon. The others are "
                "our fault: see the dashboard Pipeline.",
            ),
            Query(f"60 * sum by (reason) (rate(aurora_bridge_refusals_total{INTERVAL})) > 0", "{{reason}}"),
            unit=units.CountsPerMinute,
            stacked=True,
        ),
        bars(
            302,
            "Since the last refusal",
            About(
                "Time since a request was last refused, by reason; those that never happened since the start are not "
                "shown.",
                "Longer than a retry of Aurora takes to come, or nothing.",
                "Below 20 h, Aurora's next try of it may still come: fix the cause now, and nothing is lost.",
            ),
            Query(
                "sort(time() - max by (reason) (aurora_bridge_last_refused_timestamp_seconds > 0))",
                "{{reason}}",
            ),
            unit=units.DurationSeconds,
            base=RED,
            steps=[(20 * 3600, YELLOW), (7 * _DAY, GREEN)],
        ),
        lines(
            303,
            "Credentials in use",
            About(
                "Deliveries a minute, by the file, kind and line of the credential that let them in.",
                "One line in the file is used; two during a rotation.",
                "A rotation is over when the line of the old token is at 0: delete it then. No lines at all: "
                "deliveries are taken without a credential (AUTH__ALLOW_ANONYMOUS).",
            ),
            Query(
                f"60 * sum by (file, kind, position) (rate(aurora_bridge_credentials_used_total{INTERVAL})) > 0",
                "{{file}} {{kind}} {{position}}",
            ),
            unit=units.CountsPerMinute,
        ),
        bars(
            307,
            "Failed in a row",
            About(
                "Of the last 48 h, how many attempts of an event have failed since the last success, over all "
                "replicas. Aurora may switch a subscription off at 100.",
                "0: no bar.",
                "From 20 on: fix the reason of the refusals first. The runbook AuroraBridgeAutoDisable has the rest.",
            ),
            Query(
                'sort_desc(sum by (route, event) (aurora_bridge_failed_attempts_in_a_row{event=~"$event"})) > 0',
                "{{event}} {{route}}",
            ),
            base=YELLOW,
            steps=[(WARNED_AT, ORANGE), (DISABLED_AT, RED)],
            width=12,
        ),
        lines(
            308,
            "Attempts of 48 h",
            About(
                "Aurora's attempts of the last 48 h, and those of them that failed as it counts them: no 2xx, too "
                "late, or the client was gone. Over all replicas, kept across restarts.",
                "failed is 0.",
                "What failed is counted for 48 h. One that rises: see the panel to the left.",
            ),
            Query('sum(aurora_bridge_attempts{event=~"$event"})', "attempts"),
            Query('sum(aurora_bridge_failed_attempts{event=~"$event"})', "failed"),
            unit=units.Short,
            colors={"attempts": BLUE, "failed": RED},
            width=12,
        ),
        bars(
            309,
            "Wrong with Aurora's subscriptions",
            About(
                "What Aurora's API tells of its subscriptions, tried on the bridge's own routes: by event and problem.",
                "No bar; nor is there one where no API key is set.",
                "switched_off: nothing comes, see the runbook AuroraBridgeSubscriptionDisabled. The others are in "
                "AuroraBridgeSubscriptionWrong; the status page names each, with what to do.",
            ),
            Query(
                "sort_desc(max by (event, problem) (aurora_bridge_subscription_problems"
                '{event=~"$event|unrecognized"})) > 0',
                "{{event}} {{problem}}",
            ),
            base=ORANGE,
            width=12,
        ),
        lines(
            310,
            "Subscriptions in Aurora",
            About(
                "How many there are: enabled; disabled, it sends nothing; elsewhere, to another host than this "
                "bridge's. And the looks at Aurora's API that failed, of all replicas.",
                "Level lines; no look fails.",
                "failed looks: the log has the reason, and what to do.",
            ),
            Query(
                'sum by (state) (max by (event, state) (aurora_bridge_subscriptions{event=~"$event|unrecognized"}))',
                "{{state}}",
            ),
            Query(f"sum(increase(aurora_bridge_aurora_api_errors_total{INTERVAL}))", "failed looks"),
            unit=units.Short,
            colors={"enabled": GREEN, "disabled": RED, "elsewhere": BLUE, "failed looks": ORANGE},
            width=12,
        ),
        number(
            304,
            "Unauthorized",
            About(
                "Requests in the time shown with a wrong token, or none.",
                "0.",
                "After a change of the token: put both into the file, one a line; it is read within seconds.",
            ),
            Query(f'sum(increase(aurora_bridge_refusals_total{{reason="{Reason.UNAUTHORIZED.value}"}}{RANGE}))'),
            steps=[(0.5, RED)],
            width=6,
        ),
        number(
            305,
            "Turned away",
            About(
                "Requests in the time shown that were refused for what they are, of all such reasons.",
                "0, or a few from scanners.",
                "The panel Refusals by reason tells them apart, the log names the route.",
            ),
            Query(f'sum(increase(aurora_bridge_refusals_total{{reason=~"{AT_THE_DOOR}"}}{RANGE}))'),
            steps=[(0.5, YELLOW)],
            width=6,
        ),
        number(
            306,
            "Secret files that cannot be used",
            About(
                "Files of tokens or certificates that changed and cannot be read, now. What they held before stays in "
                "force.",
                "0; none yet: no setting names a file.",
                "The log says what is wrong with which file. Fix it; it is taken over within seconds.",
            ),
            Query("sum(aurora_bridge_secret_file_failing)"),
            steps=[(0.5, RED)],
            width=6,
        ),
        number(
            311,
            "Since Aurora's API told of them",
            About(
                "Time since any replica last saw the subscriptions.",
                "Below 20 min.",
                "The key may have been revoked, or the network policy lets nothing out: the log has the reason.",
            ),
            Query("time() - max(aurora_bridge_aurora_api_last_success_timestamp_seconds)"),
            unit=units.DurationSeconds,
            steps=[(3600, YELLOW), (_DAY, RED)],
            width=6,
        ),
    ),
)

_UNKNOWN = Section(
    "What is not understood",
    (
        bars(
            401,
            "Unknown values",
            About(
                "Values in the time shown that the catalogue does not know, by event and attribute. They were "
                "published as they are.",
                "0: no bar.",
                "Aurora has a new status: tell the consumers, they may not expect it.",
            ),
            Query(
                'sum by (event, attribute) (increase(aurora_bridge_unknown_values_total{event=~"$event"}'
                f"{RANGE})) > 0.5",
                "{{event}} {{attribute}}",
            ),
            base=YELLOW,
        ),
        bars(
            402,
            "Dead letters by cause",
            About(
                "Deliveries in the time shown without a readable event, by what was wrong. They are kept in the "
                "dead-letter topic, with their target.",
                "0.",
                "unfilled_placeholder, no_attributes, not_as_template: the URL template in Aurora. conflicting_*: two "
                "values for one attribute in it. not_utf8, control_characters: not Aurora, most likely.",
            ),
            Query(f"sort_desc(sum by (reason) (increase(aurora_bridge_dead_letters_total{RANGE})))", "{{reason}}"),
            steps=[(0.5, ORANGE)],
        ),
        lines(
            403,
            "Unrecognized events and dead letters",
            About(
                "Deliveries a minute of events that this version does not know, and of those without a readable "
                "event. Each kind is kept in a topic of its own.",
                "None.",
                "Unrecognized: Aurora has a new event; consumers can read it from its topic, by its type. Dead "
                "letters: see the panel to the left.",
            ),
            Query(
                f'60 * sum(rate(aurora_bridge_deliveries_total{{event="{UNRECOGNIZED}"}}{INTERVAL}))', "unrecognized"
            ),
            Query(f"60 * sum(rate(aurora_bridge_dead_letters_total{INTERVAL}))", "dead letters"),
            unit=units.CountsPerMinute,
            colors={"unrecognized": YELLOW, "dead letters": ORANGE},
        ),
        bars(
            404,
            "Values that say nothing",
            About(
                "Deliveries in the time shown with a value that says nothing, by event. placeholder: nobody filled "
                "it, and the delivery is a dead letter. nothing: an identifier such as null; it was read as empty, "
                "and each such delivery is published.",
                "0: no bar.",
                "The URL template in Aurora: paste the one of the status page. nothing: Aurora had no value for it.",
            ),
            Query(
                f'sum by (event, kind) (increase(aurora_bridge_junk_values_total{{event=~"$event"}}{RANGE})) > 0.5',
                "{{event}} {{kind}}",
            ),
            base=YELLOW,
            width=12,
        ),
        bars(
            405,
            "Templates to fix",
            About(
                "Deliveries in the time shown whose parameters came with names that HTML or a framework had garbled, "
                "such as amp;status, by event. They were read as they were meant.",
                "0: no bar.",
                "The status page names the template, and what to paste in its place.",
            ),
            Query(
                f'sum by (event) (increase(aurora_bridge_garbled_templates_total{{event=~"$event"}}{RANGE})) > 0.5',
                "{{event}}",
            ),
            base=YELLOW,
            width=12,
        ),
    ),
)


def aurora() -> Dashboard:
    """Return the dashboard."""
    return framed(
        "aurora",
        "Aurora",
        "What Aurora sends and sends again, what is turned away, and what is not understood.",
        "now-24h",
        _SENT,
        _RETRIED,
        _REFUSED,
        _UNKNOWN,
    )
