"""Every metric, declared once. `web.admin` exposes them.

`metric_types` says how they count. The module is long because it is one list: whoever meets a name finds its help text.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from aurora_bridge.build import BUILD
from aurora_bridge.metric_types import Counter, Gauge, Histogram, Labels
from aurora_bridge.outcomes import DeadLetterReason, Outcome, Reason

BUDGET_SECONDS = 10
"""Aurora waits this long for an answer (Aurora: "Delivery")."""
NO_EVENT = "none"
"""The event label of a delivery that was refused before its event was known."""
PLACEHOLDER, NOTHING = "placeholder", "nothing"
"""Kinds of values that mean nothing."""
_MOST_BROKERS = 100
_OTHER_BROKER = "other"
DROP_REASONS = ("limit", "handshake", "descriptors", "heads")
STAGES = ("read", "decide", "publish", "answer")
_RESPONSE_BUCKETS = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 9.0, 10.0, 15.0),
)
_STAGE_BUCKETS = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.5,
    1.0,
    3.0,
    5.0,
    8.0,
    10.0,
)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics(Collector):
    """All metrics of the daemon."""

    def __init__(  # noqa: PLR0913, PLR0915 - an argument for each closed set of label values, a statement a metric
        self,
        *,
        version: str = "",
        events: Sequence[str] = (),
        attributes: Iterable[tuple[str, str]] = (),
        intervals: Sequence[str] = (),
        publish_errors: Sequence[str] = (),
        kafka_problems: Sequence[str] = (),
        subscription_states: Sequence[str] = (),
        subscription_problems: Sequence[str] = (),
        api_errors: Sequence[str] = (),
    ) -> None:
        """Declare every metric for the given label values; `attributes` are pairs of event and attribute."""
        event = ("event", events)
        outcomes = ("outcome", [outcome.value for outcome in Outcome])
        self.deliveries = Counter(
            "aurora_bridge_deliveries",
            "Deliveries answered, by event and what became of them.",
            (("event", (*events, NO_EVENT)), outcomes),
        )
        self.refusals = Counter(
            "aurora_bridge_refusals",
            "Deliveries refused, by reason. Aurora retries each, and counts it toward switching the subscription off.",
            (("reason", [reason.value for reason in Reason]),),
        )
        self.last_refused = Gauge(
            "aurora_bridge_last_refused_timestamp_seconds",
            "When a delivery was last refused for this reason, seconds since the epoch; 0: not since start.",
            (("reason", [reason.value for reason in Reason]),),
        )
        subscription: Labels = (("tenant", ()), ("route", ()), ("event", ()))
        self.attempts = Gauge(
            "aurora_bridge_attempts",
            "Aurora's attempts of the last 48 h that this replica answered, by tenant, route and event. Tenant and "
            "route are none where no route has the path, but it names a known event or came with a valid credential; "
            "the tenant also for a route that is no longer in the settings. Kept across restarts; sum over replicas.",
            subscription,
        )
        self.failed_attempts = Gauge(
            "aurora_bridge_failed_attempts",
            "Aurora's attempts of the last 48 h that failed for Aurora: the answer was no 2xx, took longer than Aurora "
            "waits, or the client was gone.",
            subscription,
        )
        self.failed_in_a_row = Gauge(
            "aurora_bridge_failed_attempts_in_a_row",
            "Aurora's attempts of the last 48 h that failed since the last success. Aurora may switch a subscription "
            "off at 100; sum over replicas.",
            subscription,
        )
        self.auto_disable_risk = Gauge(
            "aurora_bridge_auto_disable_risk",
            "1 where Aurora may switch a subscription off: at least 20 attempts in a row failed at this replica. The "
            "recording rule aurora_bridge:auto_disable_risk:sum covers all replicas.",
            subscription,
        )
        self.subscriptions = Gauge(
            "aurora_bridge_subscriptions",
            "Subscriptions in Aurora at the last poll, by event and state: enabled, disabled, or elsewhere (for "
            "another host than this bridge's).",
            (event, ("state", subscription_states)),
        )
        self.subscription_problems = Gauge(
            "aurora_bridge_subscription_problems",
            "Problems of Aurora's subscriptions at the last poll, by event and problem; not_covered: the event has no "
            "subscription. The status page says what to do about each.",
            (event, ("problem", subscription_problems)),
        )
        self.api_last_success = Gauge(
            "aurora_bridge_aurora_api_last_success_timestamp_seconds",
            "When Aurora's API last listed the subscriptions, seconds since the epoch; 0: not since start. Absent if "
            "the API is not polled.",
        )
        if not api_errors:
            self.api_last_success.clear()
        self.api_errors = Counter(
            "aurora_bridge_aurora_api_errors",
            "Failed polls of Aurora's subscriptions, by reason; the log says what to do.",
            (("reason", api_errors),),
        )
        self.connections_dropped = Counter(
            "aurora_bridge_connections_dropped",
            "Connections closed without an answer, by port and reason: limit, too many were open, and this one had "
            "been without a request for longest; handshake, no TLS or PROXY protocol within 10 s; descriptors, the "
            "process had no file descriptor left; heads, all together held too much of long headers.",
            (("port", ("ingress", "admin")), ("reason", DROP_REASONS)),
        )
        self.dead_letters = Counter(
            "aurora_bridge_dead_letters",
            "Authenticated deliveries kept in the dead-letter topic, by what was wrong with them.",
            (("reason", [reason.value for reason in DeadLetterReason]),),
        )
        self.junk_values = Counter(
            "aurora_bridge_junk_values",
            "Deliveries with a value that means nothing, by event and kind: placeholder, one that nobody filled in, so "
            "that the delivery became a dead letter; nothing, an identifier such as null, which is read as empty.",
            (event, ("kind", (PLACEHOLDER, NOTHING))),
        )
        self.garbled_templates = Counter(
            "aurora_bridge_garbled_templates",
            "Deliveries with a parameter name that HTML or a framework garbled, such as amp;status or status[], by "
            "event. It is read as it was meant; the status page has the template to fix.",
            (event,),
        )
        self.response_seconds = Histogram(
            "aurora_bridge_response_seconds",
            "Time from receipt of the request's head to handing the answer to the socket. Aurora gives up at 10 s.",
            _RESPONSE_BUCKETS,
            (outcomes,),
        )
        self.stage_seconds = Histogram(
            "aurora_bridge_stage_seconds",
            "Time of a delivery in each stage: read (route, credentials, canonical event), decide (same event or new "
            "one), publish (until durable), answer (until handed to the socket).",
            _STAGE_BUCKETS,
            (("stage", STAGES),),
        )
        self.budget_seconds = Gauge("aurora_bridge_budget_seconds", "How long Aurora waits for an answer.")
        self.budget_seconds[()] = BUDGET_SECONDS
        self.ready = Gauge(
            "aurora_bridge_ready",
            "1 while /readyz answers 200: Kafka or the spool takes events. Kubernetes sends webhooks nowhere else.",
        )
        self.in_flight_deliveries = Gauge("aurora_bridge_in_flight_deliveries", "Deliveries not yet answered.")
        self.oldest_unanswered_seconds = Gauge(
            "aurora_bridge_oldest_unanswered_seconds",
            "Age of the oldest delivery not yet answered, 0 if there is none. A histogram cannot see what is stuck.",
        )
        self.duplicates = Counter(
            "aurora_bridge_duplicates",
            "Deliveries recognised as duplicates, by event and by what they fit: one of Aurora's retries, a re-send.",
            (event, ("interval", intervals)),
        )
        self.repeats = Counter(
            "aurora_bridge_repeats", "Events published although their content was seen before.", (event,)
        )
        self.expected_retries = Counter(
            "aurora_bridge_expected_retries",
            "Stored events whose 2xx may not have reached Aurora in time, so that a retry is expected: the client was "
            "gone, or the answer took longer than Aurora waits.",
        )
        self.retry_pending_deliveries = Gauge(
            "aurora_bridge_retry_pending_deliveries",
            "Deliveries with valid credentials that this replica refused and that Aurora's retries may still bring, by "
            "event. Equal contents count once; a replica that refused a retry counts the delivery, too.",
            (event,),
        )
        self.retry_pending_until = Gauge(
            "aurora_bridge_retry_pending_until_timestamp_seconds",
            "When the last of these retries will have come, seconds since the epoch, even if Aurora takes a fifth "
            "longer than its schedule of 23 h 35 min; 0 if there is none.",
        )
        self.missed_deliveries = Gauge(
            "aurora_bridge_missed_deliveries",
            "Deliveries that were refused and whose retries are all over, by event: they come only if Aurora is asked "
            "to send them again. Those that came while no daemon ran are not counted.",
            (event,),
        )
        self.resend_in_progress = Gauge(
            "aurora_bridge_resend_in_progress",
            "1 while a re-send is declared to this replica: everything that was accepted before is then a duplicate.",
        )
        self.backlog_events = Gauge(
            "aurora_bridge_backlog_events",
            "Events that wait in the spool for their topic, by event. While there are any, new ones join behind them.",
            (event,),
        )
        self.spool_events = Gauge("aurora_bridge_spool_events", "Events that wait in the spool.")
        self.spool_bytes = Gauge("aurora_bridge_spool_bytes", "Size of what waits in the spool, or is quarantined.")
        self.spool_limit_bytes = Gauge("aurora_bridge_spool_limit_bytes", "Most that the spool may take.")
        self.spool_room_bytes = Gauge(
            "aurora_bridge_spool_room_bytes",
            "Size at which the spool is full: its limit, or less if its volume has less room.",
        )
        self.spool_oldest_seconds = Gauge(
            "aurora_bridge_spool_oldest_seconds", "Age of the oldest event in the spool, 0 if there is none."
        )
        self.spool_quarantined_events = Gauge(
            "aurora_bridge_spool_quarantined_events", "Events that Kafka rejected, kept for an operator."
        )
        self.drained = Counter(
            "aurora_bridge_drained", "Events that left the spool because Kafka acknowledged them: its progress."
        )
        self.state_disk_free_bytes = Gauge(
            "aurora_bridge_state_disk_free_bytes",
            "Free bytes on the volume of the state directory for the daemon's user; NaN while they are unknown.",
        )
        self.state_disk_size_bytes = Gauge(
            "aurora_bridge_state_disk_size_bytes", "Size of the volume of the state directory; NaN while it is unknown."
        )
        self.broken_files = Gauge(
            "aurora_bridge_broken_files",
            "Spool files found broken at a start, kept until somebody deletes them; a new one took their place.",
            (("file", ("spool.db",)),),
        )
        self.publish_seconds = Histogram(
            "aurora_bridge_publish_seconds",
            "Time from handing an event to the sender until Kafka acknowledges it.",
            _RESPONSE_BUCKETS,
        )
        self.publish_errors = Counter(
            "aurora_bridge_publish_errors",
            "Batches that Kafka did not acknowledge, by reason.",
            (("reason", publish_errors),),
        )
        self.producer_ids = Counter(
            "aurora_bridge_producer_ids",
            "Producer ids and epochs begun: one at start, another when Kafka forgot a sequence or a batch in doubt was "
            "taken apart.",
        )
        self.kafka_request_seconds = Histogram(
            "aurora_bridge_kafka_request_seconds",
            "Time from a produce request to its response, by the broker's node id.",
            _RESPONSE_BUCKETS,
            (("broker", ()),),
        )
        self.kafka_request_bytes = Counter(
            "aurora_bridge_kafka_request_bytes",
            "Bytes of the batches in answered produce requests, by the broker's node id.",
            (("broker", ()),),
        )
        self.kafka_throttled_seconds = Histogram(
            "aurora_bridge_kafka_throttled_seconds",
            "How long a broker's quota held requests back, each time that it did, by the broker's node id.",
            _RESPONSE_BUCKETS,
            (("broker", ()),),
        )
        self.kafka_connections = Counter("aurora_bridge_kafka_connections", "Connections opened to brokers.")
        self.kafka_batches_in_doubt = Gauge(
            "aurora_bridge_kafka_batches_in_doubt",
            "Batches that were sent and got no response: they are sent again, byte for byte, until Kafka responds.",
        )
        self.kafka_resent_batches = Counter(
            "aurora_bridge_kafka_resent_batches", "Batches in doubt that were sent again."
        )
        self.kafka_configured = Gauge(
            "aurora_bridge_kafka_configured", "1 where events go to Kafka, 0 where the spool is the event log."
        )
        self.kafka_connected = Gauge(
            "aurora_bridge_kafka_connected", "1 once every partition of our topics has a leader."
        )
        self.kafka_problem = Gauge(
            "aurora_bridge_kafka_problem",
            "1 while something is wrong between the daemon and Kafka, by reason; /readyz has broker or topic.",
            (("reason", kafka_problems),),
        )
        self.index_failed = Gauge(
            "aurora_bridge_index_failed",
            "1 while the file of the dedup index is late or has failed, and events bypass the index. It is reopened "
            "automatically.",
        )
        self.index_complete = Gauge(
            "aurora_bridge_index_complete",
            "1 while the dedup index knows all that happened today. 0 while it is read from Kafka and the spool, or "
            "cannot be: new states then have a millisecond in their id, and duplicates of states pass as repeats.",
        )
        self.index_bytes = Gauge("aurora_bridge_index_bytes", "Size of the dedup index.")
        self.index_limit_bytes = Gauge(
            "aurora_bridge_index_limit_bytes",
            "Size at which the dedup index forgets its oldest part early.",
        )
        self.index_forgotten = Counter(
            "aurora_bridge_index_forgotten",
            "How often the dedup index was full and forgot its oldest part before its window was over.",
        )
        self.index_bypassed = Counter(
            "aurora_bridge_index_bypassed",
            "Deliveries decided without the file of the dedup index, which was late or had failed: duplicates of known "
            "events may be among them.",
        )
        self.follower_lag_records = Gauge(
            "aurora_bridge_follower_lag_records", "Records in the topics that the index does not know yet."
        )
        self.followed_records = Counter(
            "aurora_bridge_followed_records",
            "Records read from the topics into the index: what others published, and what its file had lost or never "
            "had.",
        )
        self.other_instances = Gauge(
            "aurora_bridge_other_instances", "Other instances that published to these topics within the last 24 h."
        )
        self.event_last_received = Gauge(
            "aurora_bridge_event_last_received_timestamp_seconds",
            "When a delivery of this event last came, seconds since the epoch; 0: never. After a restart, when the "
            "last one before it was accepted.",
            (event,),
        )
        self.unknown_values = Counter(
            "aurora_bridge_unknown_values",
            "Attribute values that the catalogue does not know. They are kept; Aurora may have added one.",
            (("event", sorted({name for name, _ in attributes})), ("attribute", sorted({a for _, a in attributes}))),
        )
        for key in set(self.unknown_values) - set(attributes):
            del self.unknown_values[key]
        self.credentials_used = Counter(
            "aurora_bridge_credentials_used",
            "Deliveries let in, by file, kind of credential and its line in the file: shows when a rotation is over.",
            (("file", ()), ("kind", ()), ("position", ())),
        )
        self.secret_file_failing = Gauge(
            "aurora_bridge_secret_file_failing",
            "1 while a secret file cannot be used, and what it held before stays in force.",
            (("file", ()),),
        )
        self.secret_file_reloads = Counter(
            "aurora_bridge_secret_file_reloads", "Reloads of a secret file that had changed.", (("file", ()),)
        )
        self.loop_lag_seconds = Histogram(
            "aurora_bridge_loop_lag_seconds",
            "How late the event loop woke up, four times a second: its delay for every delivery. A stall is one "
            "observation, however long it was.",
            _LAG_BUCKETS,
        )
        self.build_info = Gauge(
            "aurora_bridge_build_info",
            "Always 1, by version and build: compiled, or interpreted.",
            (("version", (version,)), ("build", (BUILD,))),
        )
        self.build_info[version, BUILD] = 1
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def broker_label(self, node: int) -> str:
        """Return the value of the label `broker`: the node id, for the first of them."""
        known = self.kafka_request_seconds
        return str(node) if str(node) in known or len(known) < _MOST_BROKERS else _OTHER_BROKER

    def settle(self) -> None:
        """Count the observations since the last call."""
        for metric in vars(self).values():
            if isinstance(metric, Histogram):
                for series in metric.values():
                    series.settle()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands."""
        for metric in vars(self).values():
            if isinstance(metric, Counter | Gauge | Histogram):
                yield metric.collect()
