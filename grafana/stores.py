"""The rows of the dashboard Pipeline about where events are kept: Kafka, the spool, and the index of what was seen."""

from grafana_foundation_sdk.models import units

from grafana.frame import Section
from grafana.panels import FULL, GREEN, RED, YELLOW, About, lines, states, times
from grafana.queries import INTERVAL, POD, Query, quantile

_PUBLISH = "aurora_bridge_publish_seconds"
_WEEK = 7 * 86_400

KAFKA = Section(
    "Kafka",
    (
        states(
            301,
            "Connected",
            About(
                "Whether every partition of our topics has a leader, by pod. A pod without a Kafka keeps its events in "
                "its own log (embedded).",
                "connected, or own log.",
                "Not connected on all pods: Kafka, or a topic that is missing. On one: its network. The panel to the "
                "right has the reason, /readyz the broker or topic.",
            ),
            Query("aurora_bridge_kafka_connected + 2 * (1 - aurora_bridge_kafka_configured)", POD),
            {"0": ("not connected", RED), "1": ("connected", GREEN), "2": ("own log", GREEN)},
            width=12,
        ),
        lines(
            302,
            "Problems",
            About(
                "Pods with a problem between them and Kafka, by reason.",
                "No line.",
                "/readyz names the broker or the topics, and the remedy; docs/kafka.md explains each reason.",
            ),
            Query("sum by (reason) (aurora_bridge_kafka_problem) > 0", "{{reason}}"),
            unit=units.Short,
            width=12,
        ),
        times(
            303,
            "Time to Kafka's acknowledgement",
            About(
                "From handing an event to the sender to the acknowledgement of all in-sync replicas.",
                "Milliseconds.",
                "A slow follower in the cluster, or the network between. From 3 s on, the event goes to the disk. In "
                "an outage the wait of what was in doubt counts, too.",
            ),
            Query(quantile(0.5, _PUBLISH), "p50"),
            Query(quantile(0.99, _PUBLISH), "p99"),
            Query(quantile(1, _PUBLISH), "max"),
            width=12,
        ),
        lines(
            304,
            "Batches not acknowledged, by reason",
            About(
                "Batches a minute that Kafka did not acknowledge, in its own words.",
                "None, or a few not_leader... while brokers restart; these are tried again at once.",
                "message_too_large: an event is quarantined. topic_authorization_failed: the ACLs. broker_away, "
                "connection_lost: the cluster or the network.",
            ),
            Query(f"60 * sum by (reason) (rate(aurora_bridge_publish_errors_total{INTERVAL})) > 0", "{{reason}}"),
            unit=units.CountsPerMinute,
            width=12,
        ),
    ),
)

SPOOL = Section(
    "Spool: what waits on disk for Kafka",
    (
        lines(
            402,
            "Spool and volume filled",
            About(
                "Share of SPOOL__MAX_BYTES in use, what is quarantined included, and of the volume it lies on, by pod. "
                "Either full, and Kafka away: webhooks are refused.",
                "The spool at 0 %, the volume below 80 %.",
                "The spool: bring Kafka back, or raise SPOOL__MAX_BYTES and restart. The volume: make it larger, or "
                "SPOOL__MAX_BYTES and INDEX__MAX_BYTES smaller; files named spool.db.broken-* are for you to delete.",
            ),
            Query("aurora_bridge_spool_bytes / (aurora_bridge_spool_limit_bytes > 0)", f"spool of {POD}"),
            Query("1 - aurora_bridge_state_disk_free_bytes / aurora_bridge_state_disk_size_bytes", f"volume of {POD}"),
            unit=units.PercentUnit,
            highest=1,
            steps=FULL,
        ),
        lines(
            403,
            "Time until it is full",
            About(
                "At the pace of the last 15 minutes, by pod; shown when it is less than a week. 0: it is full.",
                "No line.",
                "Less than the rest of the night: raise SPOOL__MAX_BYTES now, if the volume has room.",
            ),
            Query(
                "(aurora_bridge_spool_room_bytes - aurora_bridge_spool_bytes)"
                f" / (deriv(aurora_bridge_spool_bytes[15m]) > 0) < {_WEEK}"
                f" or 0 * (aurora_bridge_spool_bytes / (aurora_bridge_spool_room_bytes > 0) > {FULL[-1][0]})",
                POD,
            ),
            unit=units.Seconds,
        ),
        lines(
            404,
            "Oldest event that waits",
            About(
                "Age of the oldest event in the spool, by pod.",
                "0.",
                "How far consumers are behind. It does not fall while Kafka is connected: the panel by event names "
                "the topic that is stuck.",
            ),
            Query("aurora_bridge_spool_oldest_seconds", POD),
            unit=units.Seconds,
        ),
        lines(
            405,
            "In and out",
            About(
                "Events a minute that go to the spool, and that leave it because Kafka acknowledged them.",
                "None. After an outage, out until it is empty.",
                "In without out: Kafka is away. Waiting, and neither: it is away, and nothing comes.",
            ),
            Query(f'60 * sum(rate(aurora_bridge_deliveries_total{{outcome="spooled"}}{INTERVAL}))', "in"),
            Query(f"60 * sum(rate(aurora_bridge_drained_total{INTERVAL}))", "out"),
            unit=units.CountsPerMinute,
            colors={"in": YELLOW, "out": GREEN},
            width=12,
        ),
        lines(
            406,
            "Events that wait, by event",
            About(
                "Events in the spool, by Aurora's event: each has a topic, and a queue, of its own.",
                "No line.",
                "All events: Kafka is away. A few: their topics are missing, forbidden or without a leader.",
            ),
            Query('sum by (event) (aurora_bridge_backlog_events{event=~"$event"}) > 0', "{{event}}"),
            unit=units.Short,
            stacked=True,
            width=12,
        ),
    ),
)

REQUESTS = Section(
    "Kafka, request by request",
    (
        times(
            307,
            "Time of a produce request, p99, and quota",
            About(
                "p99 of the produce requests to each broker, and for how long its quota held the next one up, in "
                "seconds of each second.",
                "Milliseconds; no quota.",
                "One broker alone: its disk or network. A quota: raise it, or send less; /readyz names it.",
            ),
            Query(quantile(0.99, "aurora_bridge_kafka_request_seconds", by="broker"), "broker {{broker}}"),
            Query(
                f"sum by (broker) (rate(aurora_bridge_kafka_throttled_seconds_sum{INTERVAL}))",
                "quota of broker {{broker}}",
            ),
        ),
        lines(
            308,
            "Sent to Kafka",
            About(
                "Bytes a second in produce requests, by broker.",
                "About 1 kB an event.",
                "Far more than events come: a backlog drains, or batches go again; see the next panel.",
            ),
            Query(f"sum by (broker) (rate(aurora_bridge_kafka_request_bytes_total{INTERVAL}))", "broker {{broker}}"),
            unit=units.BytesPerSecondSI,
        ),
        lines(
            309,
            "Batches in doubt, connections, producer ids",
            About(
                "Batches that were sent without an answer now; those sent again, connections opened, and producer ids "
                "and epochs begun, in the time of a point.",
                "None but at starts and while brokers restart, and a few connections a minute.",
                "Batches stay in doubt: their broker does not answer, see Problems. Connections without end: a proxy "
                "or firewall ends them. Producer ids often: the cluster loses its state of producers, look at its "
                "unclean elections; each is a batch that may lie in Kafka twice, with the same keys.",
            ),
            Query("sum(aurora_bridge_kafka_batches_in_doubt)", "in doubt"),
            Query(f"sum(increase(aurora_bridge_kafka_resent_batches_total{INTERVAL}))", "sent again"),
            Query(f"sum(increase(aurora_bridge_kafka_connections_total{INTERVAL}))", "connections"),
            Query(f"sum(increase(aurora_bridge_producer_ids_total{INTERVAL}))", "producer ids"),
            unit=units.Short,
        ),
    ),
    collapsed=True,
)

INDEX = Section(
    "Index: same event or new one",
    (
        states(
            509,
            "Index",
            About(
                "Whether the index knows all that happened today, by pod.",
                "complete; incomplete for seconds after a start, longer while an index is rebuilt: half a minute a "
                "million records.",
                "incomplete: duplicates of states pass, and new states have ids of a millisecond. failed: its file is "
                "late or broken, and it is opened again by itself; what stays so has a fault of its disk. The status "
                "page says why, and how long it takes.",
            ),
            Query(
                "aurora_bridge_index_complete * (1 - aurora_bridge_index_failed) + 2 * aurora_bridge_index_failed", POD
            ),
            {"0": ("incomplete", YELLOW), "1": ("complete", GREEN), "2": ("failed", RED)},
            width=12,
        ),
        lines(
            502,
            "Duplicates that can have passed",
            About(
                "Deliveries decided without the index's file, and times that a full index forgot its oldest part, in "
                "the time of a point, of all pods.",
                "0.",
                "Without the index: look at the disk of the state directory, and at Lag of the event loop. Forgot "
                "early: raise INDEX__MAX_BYTES and restart; an event takes 70 to 170 bytes, for INDEX__WINDOW_DAYS.",
            ),
            Query(f"sum(increase(aurora_bridge_index_bypassed_total{INTERVAL}))", "without the index"),
            Query(f"sum(increase(aurora_bridge_index_forgotten_total{INTERVAL}))", "forgot early"),
            unit=units.Short,
            width=12,
        ),
        lines(
            503,
            "Index filled",
            About(
                "Share in use of the size at which the index forgets its oldest part early, by pod.",
                "Below 100 %, level after INDEX__WINDOW_DAYS.",
                "At 100 %, late duplicates can pass: raise INDEX__MAX_BYTES and restart.",
            ),
            Query("aurora_bridge_index_bytes / aurora_bridge_index_limit_bytes", POD),
            unit=units.PercentUnit,
            highest=1,
            steps=FULL,
        ),
        lines(
            504,
            "Records that it has read, or does not know yet",
            About(
                "How far the index is behind Kafka, and how many records a minute it learned from there, by pod: what "
                "other replicas published, or itself before a crash.",
                "Near 0 behind, more for seconds after a start; a single replica reads nothing.",
                "Behind, and it does not fall: Kafka cannot be read, see Problems (read_denied). A single one that "
                "reads rebuilds its index, or somebody else writes to its topics.",
            ),
            Query("aurora_bridge_follower_lag_records", f"behind: {POD}"),
            Query(f"60 * rate(aurora_bridge_followed_records_total{INTERVAL})", f"read: {POD}"),
            unit=units.Short,
        ),
        lines(
            506,
            "Other instances",
            About(
                "Other instances that published to the same topics within the last 24 h, as each pod sees it.",
                "Replicas less one. Instances with new volumes count for a day besides the old ones.",
                "More: another installation writes to the same topics; give it a KAFKA__TOPIC_PREFIX of its own.",
            ),
            Query("aurora_bridge_other_instances", POD),
            unit=units.Short,
        ),
    ),
    collapsed=True,
)
