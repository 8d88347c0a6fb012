"""The rows of the dashboard Pipeline about where events are kept: Kafka, the spool, and the index of what was seen."""

from grafana_foundation_sdk.models import units

from grafana.frame import Section
from grafana.panels import FULL, GREEN, RED, YELLOW, About, lines, number, times
from grafana.queries import INTERVAL, RANGE, Query, quantile

_PUBLISH = "aurora_bridge_publish_seconds"
_WEEK = 7 * 86_400

KAFKA = Section(
    "Kafka",
    (
        lines(
            301,
            "Connected",
            About(
                "1 while every partition of our topics has a leader, by instance.",
                "1. An instance without a Kafka (embedded log) stays at 0.",
                "0 on all instances: Kafka, or a topic that is missing. On one: its network. The panel to the right "
                "has the reason, /readyz the broker or topic.",
            ),
            Query("aurora_bridge_kafka_connected", "{{instance}}"),
            unit=units.Short,
            highest=1,
        ),
        lines(
            302,
            "Problems",
            About(
                "Instances with a problem between them and Kafka, by reason.",
                "No line.",
                "/readyz names the broker or the topics, and the remedy; docs/kafka.md explains each reason.",
            ),
            Query("sum by (reason) (aurora_bridge_kafka_problem) > 0", "{{reason}}"),
            unit=units.Short,
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
            Query(quantile(0.5, _PUBLISH), "half"),
            Query(quantile(0.99, _PUBLISH), "99 %"),
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
        ),
        lines(
            305,
            "Events acknowledged",
            About(
                "Events a minute that Kafka acknowledged, by instance: new ones, and those from the spool.",
                "As many as are published, more after an outage.",
                "0 while deliveries come: see Problems.",
            ),
            Query(f"60 * rate({_PUBLISH}_count{INTERVAL})", "{{instance}}"),
            unit=units.CountsPerMinute,
        ),
        lines(
            306,
            "Producer ids and epochs begun",
            About(
                "Producer ids and epochs begun in the time of a point, by instance: one at start, another when Kafka "
                "forgot a sequence, or a batch in doubt was taken apart.",
                "None but at starts.",
                "Each is a batch that may lie in Kafka twice, with the same keys. Often: the cluster loses its state "
                "of producers; look at its unclean elections.",
            ),
            Query(f"increase(aurora_bridge_producer_ids_total{INTERVAL})", "{{instance}}"),
            unit=units.Short,
        ),
        times(
            307,
            "Time of a produce request, 99 %, and quota",
            About(
                "What 99 % of the produce requests to each broker took, and for how long its quota held the next one "
                "up, in seconds of each second.",
                "Milliseconds; no quota.",
                "One broker alone: its disk or network. A quota: raise it, or send less; /readyz names it.",
            ),
            Query(quantile(0.99, "aurora_bridge_kafka_request_seconds", by="broker"), "broker {{broker}}"),
            Query(
                f"sum by (broker) (rate(aurora_bridge_kafka_throttled_seconds_sum{INTERVAL})) > 0",
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
            "Batches in doubt, sent again; connections",
            About(
                "Batches that were sent without an answer now; those sent again and connections opened in the time of "
                "a point.",
                "None but while brokers restart, and a few connections a minute.",
                "Batches stay in doubt: their broker does not answer, see Problems. Connections without end: a proxy "
                "or firewall ends them.",
            ),
            Query("sum(aurora_bridge_kafka_batches_in_doubt)", "in doubt"),
            Query(f"sum(increase(aurora_bridge_kafka_resent_batches_total{INTERVAL}))", "sent again"),
            Query(f"sum(increase(aurora_bridge_kafka_connections_total{INTERVAL}))", "connections"),
            unit=units.Short,
        ),
    ),
)

SPOOL = Section(
    "Spool: what waits on disk for Kafka",
    (
        lines(
            401,
            "Events that wait",
            About(
                "Events in the spool, by instance.",
                "0. Without a Kafka (embedded log), the events kept.",
                "It grows: Kafka does not take them. It falls: they are being drained, in order.",
            ),
            Query("aurora_bridge_spool_events", "{{instance}}"),
            unit=units.Short,
        ),
        lines(
            402,
            "Spool filled",
            About(
                "Share of SPOOL__MAX_BYTES in use, by instance, what is quarantined included. Full, and Kafka away: "
                "webhooks are refused.",
                "0 %.",
                "At 80 %: bring Kafka back, or raise SPOOL__MAX_BYTES and restart. See the time left to the right.",
            ),
            Query("aurora_bridge_spool_bytes / (aurora_bridge_spool_limit_bytes > 0)", "{{instance}}"),
            unit=units.PercentUnit,
            highest=1,
            steps=FULL,
        ),
        lines(
            403,
            "Time until it is full",
            About(
                "At the pace of the last 15 minutes, by instance; shown when it is less than a week. 0: it is full.",
                "No line.",
                "Less than the rest of the night: raise SPOOL__MAX_BYTES now, if the volume has room.",
            ),
            Query(
                "(aurora_bridge_spool_limit_bytes - aurora_bridge_spool_bytes)"
                f" / (deriv(aurora_bridge_spool_bytes[15m]) > 0) < {_WEEK}"
                f" or 0 * (aurora_bridge_spool_bytes / (aurora_bridge_spool_limit_bytes > 0) > {FULL[-1][0]})",
                "{{instance}}",
            ),
            unit=units.Seconds,
        ),
        lines(
            404,
            "Oldest event that waits",
            About(
                "Age of the oldest event in the spool, by instance.",
                "0.",
                "How far consumers are behind. It does not fall while Kafka is connected: the panel by event names "
                "the topic that is stuck.",
            ),
            Query("aurora_bridge_spool_oldest_seconds", "{{instance}}"),
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
        ),
        number(
            407,
            "Quarantined events",
            About(
                "Events that Kafka rejected, kept for an operator.",
                "0.",
                "aurora-bridge quarantine list says why; fix the cause, then aurora-bridge quarantine retry --all.",
            ),
            Query("sum(aurora_bridge_spool_quarantined_events)"),
            steps=[(0.5, RED)],
            width=6,
        ),
        number(
            408,
            "Fullest volume",
            About(
                "Share of the volume of the state directory that is in use, of the instance where it is the most.",
                "Below 80 %.",
                "A volume that is full before the spool is means refused webhooks: make it larger, or "
                "SPOOL__MAX_BYTES and INDEX__MAX_BYTES smaller. Files named spool.db.broken-* are for you to delete.",
            ),
            Query("max(1 - aurora_bridge_state_disk_free_bytes / aurora_bridge_state_disk_size_bytes)"),
            unit=units.PercentUnit,
            steps=FULL,
            width=6,
        ),
        number(
            409,
            "Least room on a volume",
            About(
                "Bytes free on the volume of the state directory, of the instance where it is the least.",
                "More than SPOOL__MAX_BYTES and INDEX__MAX_BYTES less what they use.",
                "As to the left.",
            ),
            Query("min(aurora_bridge_state_disk_free_bytes)"),
            unit=units.BytesIEC,
            decimals=1,
            base=RED,
            steps=[(100 * 2**20, YELLOW), (2**30, GREEN)],
            width=6,
        ),
        number(
            410,
            "Went to disk first",
            About(
                "Deliveries in the time shown that went to the spool, not to Kafka directly.",
                "0.",
                "Each came to Kafka later than it could have; nothing is lost.",
            ),
            Query(f'sum(increase(aurora_bridge_deliveries_total{{outcome="spooled"}}{RANGE}))'),
            steps=[(0.5, YELLOW)],
            width=6,
        ),
    ),
)

INDEX = Section(
    "Index: same event or new one",
    (
        lines(
            501,
            "Duplicates and repeats",
            About(
                "Deliveries a minute that brought a known event (not published again), and events published although "
                "their content was seen before.",
                "Few duplicates; repeats where states come back, or signals come again.",
                "Many duplicates: Aurora retries, see the dashboard Aurora, Retries.",
            ),
            Query(f'60 * sum(rate(aurora_bridge_duplicates_total{{event=~"$event"}}{INTERVAL}))', "duplicates"),
            Query(f'60 * sum(rate(aurora_bridge_repeats_total{{event=~"$event"}}{INTERVAL}))', "repeats"),
            unit=units.CountsPerMinute,
        ),
        lines(
            502,
            "Events that bypassed the index",
            About(
                "Deliveries a minute that were decided without the index's file, which was late or had failed, by "
                "instance.",
                "0.",
                "Duplicates can pass. Look at the disk of the state directory, and at Lag of the event loop. The file "
                "is opened again by itself.",
            ),
            Query(f"60 * rate(aurora_bridge_index_bypassed_total{INTERVAL})", "{{instance}}"),
            unit=units.CountsPerMinute,
        ),
        lines(
            503,
            "Index filled",
            About(
                "Share in use of the size at which the index forgets its oldest part early, by instance.",
                "Below 100 %, level after INDEX__WINDOW_DAYS.",
                "At 100 %, late duplicates can pass: raise INDEX__MAX_BYTES and restart.",
            ),
            Query("aurora_bridge_index_bytes / aurora_bridge_index_limit_bytes", "{{instance}}"),
            unit=units.PercentUnit,
            highest=1,
            steps=FULL,
        ),
        lines(
            504,
            "Records that the index does not know yet",
            About(
                "How far it is behind Kafka, by instance: what other replicas published, or itself before a crash.",
                "Near 0; more for seconds after a start.",
                "Meanwhile replicas decide without each other's latest. It does not fall: Kafka cannot be read, see "
                "Problems (read_denied).",
            ),
            Query("aurora_bridge_follower_lag_records", "{{instance}}"),
            unit=units.Short,
            width=6,
        ),
        lines(
            509,
            "Index complete",
            About(
                "1 while the index knows all that happened today, by instance.",
                "1; 0 for seconds after a start, longer while an index is rebuilt: half a minute a million records.",
                "At 0, duplicates of states pass, and new states have ids of a millisecond. The status page says why, "
                "and how long it takes.",
            ),
            Query("aurora_bridge_index_complete", "{{instance}}"),
            unit=units.Short,
            highest=1,
            width=6,
        ),
        lines(
            505,
            "Records read out of Kafka",
            About(
                "Records a minute that the index learned from Kafka, by instance.",
                "What the other replicas publish; with a single one, none.",
                "A single instance that reads rebuilds its index, or somebody else writes to its topics.",
            ),
            Query(f"60 * rate(aurora_bridge_followed_records_total{INTERVAL})", "{{instance}}"),
            unit=units.CountsPerMinute,
            width=6,
        ),
        lines(
            506,
            "Other instances",
            About(
                "Other instances that published to the same topics within the last 24 h, as each sees it.",
                "Replicas less one. Instances with new volumes count for a day besides the old ones.",
                "More: another installation writes to the same topics; give it a KAFKA__TOPIC_PREFIX of its own.",
            ),
            Query("aurora_bridge_other_instances", "{{instance}}"),
            unit=units.Short,
            width=6,
        ),
        number(
            507,
            "Failed indexes",
            About(
                "Instances whose index is late or failed, now: duplicates pass.",
                "0.",
                "It is opened again by itself, and a broken file is rebuilt from Kafka. What stays here has a fault of "
                "its disk: the log has the cause.",
            ),
            Query("sum(aurora_bridge_index_failed)"),
            steps=[(0.5, RED)],
            width=12,
        ),
        number(
            508,
            "Forgot early",
            About(
                "Times in the time shown that an index was full and forgot its oldest part.",
                "0.",
                "Raise INDEX__MAX_BYTES and restart: an event takes 70 to 170 bytes, for INDEX__WINDOW_DAYS.",
            ),
            Query(f"sum(increase(aurora_bridge_index_forgotten_total{RANGE}))"),
            steps=[(0.5, YELLOW)],
            width=12,
        ),
    ),
)
