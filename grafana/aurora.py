"""Aurora, for whoever owns the integration: what Aurora sends, retries, turns away, and what is not understood of it.

What the bridge does with it is in `pipeline`.
"""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from aurora_bridge.auto_disable.attempts import DISABLED_AT, WARNED_AT
from grafana.frame import Section, framed
from grafana.panels import BLUE, GREEN, ORANGE, RED, YELLOW, About, bars, lines
from grafana.queries import AT_THE_DOOR, INTERVAL, RANGE, Query

_TENANTS = Section(
    "Attempts of the last 48 h, by tenant",
    (
        lines(
            101,
            "Attempts",
            About(
                "Aurora's attempts of the last 48 h, by the tenant of their route, over all replicas; with one tenant, "
                "all of them. none: no route has the path.",
                "Each tenant's usual week: fewer at the weekend, never 0 for long.",
                "0: this tenant's subscriptions were switched off, or its URL changed. Choose the tenant and look at "
                "the next panel; the runbook AuroraBridgeEventSilent has the rest.",
            ),
            Query('sum by (tenant) (aurora_bridge_attempts{event=~"$event",tenant=~"$tenant"})', "{{tenant}}"),
            unit=units.Short,
            width=12,
        ),
        lines(
            102,
            "... of which failed",
            About(
                "Those of them that failed for Aurora: no 2xx, later than 10 s, or the client was gone.",
                "No line.",
                "Compare with all attempts, to the left. If all of one tenant's fail: its credential or its templates. "
                "Failed in a row, below, names the event and the route.",
            ),
            Query(
                'sum by (tenant) (aurora_bridge_failed_attempts{event=~"$event",tenant=~"$tenant"}) > 0', "{{tenant}}"
            ),
            unit=units.Short,
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
                "No bar, or a few echoes.",
                "30s and later: Aurora did not get our 2xx in time; compare with the expected retries, to the right. "
                "Only later ones: the earlier attempts did not come through to us. none: perhaps other events that "
                "look alike; see the runbook AuroraBridgeStrayDuplicates.",
            ),
            Query(
                f'sum by (interval) (increase(aurora_bridge_duplicates_total{{event=~"$event"}}{RANGE})) > 0.5',
                "{{interval}}",
            ),
        ),
        lines(
            202,
            "Duplicates, repeats, expected retries",
            About(
                "A minute. Duplicates: a known event, answered 200 and not published again. Repeats: published "
                "although the content was seen before, a state that came back or a signal such as lead_changed. "
                "Expected retries: taken, but our 2xx may not have come in time; each comes again as a duplicate.",
                "Few duplicates, some repeats, no expected retry.",
                "Expected retries: a proxy in front with a time-out below 10 s, or slow answers. Far more duplicates "
                "than these: our answers get lost behind us, or an event has two subscriptions (choose one above). "
                "Many repeats of a state: compare INDEX__REPEAT_WINDOW_SECONDS with the filters of the subscription.",
            ),
            Query(f'60 * sum(rate(aurora_bridge_duplicates_total{{event=~"$event"}}{INTERVAL}))', "duplicates"),
            Query(f'60 * sum(rate(aurora_bridge_repeats_total{{event=~"$event"}}{INTERVAL}))', "repeats"),
            Query(f"60 * sum(rate(aurora_bridge_expected_retries_total{INTERVAL}))", "expected retries"),
            unit=units.CountsPerMinute,
        ),
        lines(
            206,
            "Refused, and not here yet",
            About(
                "Webhooks that were refused behind their credentials, by event: those that Aurora's retries may still "
                "bring, and all whose retries are over (of 30 days). One that two pods refused counts at both. And the "
                "pods to which a re-send is declared.",
                "No line but at 0; while Aurora sends again, a re-send on all pods.",
                "It does not fall as retries come: is the subscription still on? Retries are over: aurora-bridge "
                "resend request prints what to ask Aurora for, and until when; resend begin declares that it comes.",
            ),
            Query('sum by (event) (aurora_bridge_retry_pending_deliveries{event=~"$event"}) > 0', "{{event}}"),
            Query('sum(aurora_bridge_missed_deliveries{event=~"$event"})', "retries are over"),
            Query("sum(aurora_bridge_resend_in_progress)", "re-send declared"),
            unit=units.Short,
        ),
    ),
)

_REFUSED = Section(
    "Refusals: each burns one of Aurora's retries",
    (
        lines(
            301,
            "Turned away, by reason",
            About(
                "Requests a minute that were refused for what they are, by reason. Aurora tries its "
                "own again, up to five times in 24 h, and counts them toward switching the subscription off.",
                "None, or some no_route from scanners of the internet.",
                "unauthorized: the token in Aurora is not the one here; give the old one back until both sides have "
                "the new one. no_route: the URL in Aurora. target_too_long: INGRESS__MAX_TARGET_BYTES. "
                "malformed_with_credential: what is in front of the daemon.",
            ),
            Query(
                f'60 * sum by (reason) (rate(aurora_bridge_refusals_total{{reason=~"{AT_THE_DOOR}"}}{INTERVAL})) > 0',
                "{{reason}}",
            ),
            unit=units.CountsPerMinute,
            stacked=True,
        ),
        bars(
            307,
            "Failed in a row",
            About(
                "Of the last 48 h, how many attempts of an event have failed since the last success, over all "
                "replicas. Aurora may switch a subscription off at 100. none: with a good credential, to a path that "
                "no route has.",
                "0: no bar.",
                "From 20 on: fix the reason of the refusals first. The runbook AuroraBridgeAutoDisable has the rest.",
            ),
            Query(
                'sort_desc(sum by (route, event) (aurora_bridge_failed_attempts_in_a_row{event=~"$event",'
                'tenant=~"$tenant"})) > 0',
                "{{event}} {{route}}",
            ),
            base=YELLOW,
            steps=[(WARNED_AT, ORANGE), (DISABLED_AT, RED)],
        ),
        bars(
            309,
            "Wrong with Aurora's subscriptions",
            About(
                "What Aurora's API tells of its subscriptions, tried on the bridge's own routes: events, by problem.",
                "No bar; nor is there one where no API key is set.",
                "switched_off: nothing comes, see the runbook AuroraBridgeSubscriptionDisabled. The others are in "
                "AuroraBridgeSubscriptionWrong; the status page names each event, with what to do.",
            ),
            Query(
                "sort_desc(sum by (problem) (max by (event, problem) (aurora_bridge_subscription_problems"
                '{event=~"$event|unrecognized"}))) > 0',
                "{{problem}}",
            ),
            base=ORANGE,
        ),
    ),
)

_UNKNOWN = Section(
    "What is not understood",
    (
        bars(
            401,
            "Templates to fix, values not known",
            About(
                "Deliveries in the time shown, by event. placeholder: a value that nobody filled, and the delivery "
                "is a dead letter. nothing: an identifier such as null, read as empty. garbled: a parameter's name as "
                "HTML or a framework garbles it, such as amp;status, read as it was meant. An attribute: a value of it "
                "that the catalogue does not know, published as it is.",
                "No bar.",
                "The URL template in Aurora: paste the one of the status page. An attribute: Aurora has a new status; "
                "tell the consumers, they may not expect it.",
            ),
            Query(
                f'sum by (event, kind) (increase(aurora_bridge_junk_values_total{{event=~"$event"}}{RANGE})) > 0.5',
                "{{event}} {{kind}}",
            ),
            Query(
                f'sum by (event) (increase(aurora_bridge_garbled_templates_total{{event=~"$event"}}{RANGE})) > 0.5',
                "{{event}} garbled",
            ),
            Query(
                'sum by (event, attribute) (increase(aurora_bridge_unknown_values_total{event=~"$event"}'
                f"{RANGE})) > 0.5",
                "{{event}} {{attribute}}",
            ),
            base=YELLOW,
            width=12,
        ),
        bars(
            402,
            "Dead letters by cause",
            About(
                "Deliveries in the time shown without a readable event, by what was wrong. They are kept in the "
                "dead-letter topic, with their target.",
                "No bar.",
                "unfilled_placeholder, no_attributes, not_as_template: the URL template in Aurora. conflicting_*: two "
                "values for one attribute in it. not_utf8, control_characters: not Aurora, most likely.",
            ),
            Query(
                f"sort_desc(sum by (reason) (increase(aurora_bridge_dead_letters_total{RANGE})) > 0.5)", "{{reason}}"
            ),
            steps=[(0.5, ORANGE)],
            width=12,
        ),
    ),
)

_SETTINGS = Section(
    "Credentials and subscriptions",
    (
        lines(
            303,
            "Credentials in use, files that cannot be read",
            About(
                "Deliveries a minute, by the file, kind and line of the credential that let them in. And "
                "1 for a file of tokens or certificates that changed and cannot be read: what it held stays in force.",
                "One line in the file is used; two during a rotation.",
                "A rotation is over when the line of the old token is at 0: delete it then. No lines at all: "
                "deliveries are taken without a credential (AUTH__ALLOW_ANONYMOUS). A file that cannot be "
                "read: the log says why; fix it, and it is taken over within seconds.",
            ),
            Query(
                f"60 * sum by (file, kind, position) (rate(aurora_bridge_credentials_used_total{INTERVAL})) > 0",
                "{{file}} {{kind}} {{position}}",
            ),
            Query("sum by (file) (aurora_bridge_secret_file_failing) > 0", "{{file}} cannot be read"),
            unit=units.Short,
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
    ),
    collapsed=True,
)


def aurora() -> Dashboard:
    """Return the dashboard."""
    return framed(
        "aurora",
        "Aurora",
        "What each tenant sends, what comes again, what is turned away, and what is not understood.",
        "now-24h",
        _TENANTS,
        _RETRIED,
        _REFUSED,
        _UNKNOWN,
        _SETTINGS,
        tenants=True,
    )
