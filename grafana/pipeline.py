"""Pipeline, for whoever is on call: where a delivery spends its time, where its event is kept, and the process.

`stores` has the rows of Kafka, spool and index. `aurora` is for what Aurora sends.
"""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.frame import Section, framed
from grafana.panels import FULL, OUTCOMES, About, heat, lines, times
from grafana.queries import INTERVAL, OUR_FAULT, POD, Query, of_ours, quantile
from grafana.stores import INDEX, KAFKA, REQUESTS, SPOOL

_RESPONSE, _STAGE = "aurora_bridge_response_seconds", "aurora_bridge_stage_seconds"
_LAG = "aurora_bridge_loop_lag_seconds"
_ROWS = r"0.001|0.002|0.005|0.01|0.02|0.05|0.1|0.5|1.0|3.0|5.0|8.0|10.0|\\+Inf"
"""Of the buckets of the response time, those that the heatmap shows: the topmost is what came after Aurora's 10 s."""

_ANSWERS = Section(
    "Answers",
    (
        times(
            101,
            "Answer times by outcome, p99",
            About(
                "p99 of the answers of each outcome.",
                "Published, spooled and duplicate within milliseconds.",
                "Published near 3 s: Kafka is slow. Spooled near 5 s: the disk is. Refused near 5 or 8 s: both.",
            ),
            Query(quantile(0.99, _RESPONSE, by="outcome"), "{{outcome}}"),
            colors=OUTCOMES,
        ),
        heat(
            102,
            "Answers by time taken (topmost row: after Aurora gave up)",
            About(
                "Answers a minute by how long they took, the darker the more. The lower border of the topmost row is "
                "the line at 10 s.",
                "All in the lower rows, the topmost row empty.",
                "A second band higher up is a part of the deliveries with a problem of their own: one broker, one "
                "topic.",
            ),
            Query(f'60 * sum by (le) (rate({_RESPONSE}_bucket{{le=~"{_ROWS}"}}{INTERVAL}))', "{{le}}"),
        ),
        times(
            103,
            "Oldest unanswered delivery",
            About(
                "Age of the delivery that waits longest, by pod: what is stuck shows here, and nowhere else.",
                "No line, or far below 1 s.",
                "A line that climbs to 8 s is a hanging disk or Kafka, or a fault of ours: the log says too_late.",
            ),
            Query("aurora_bridge_oldest_unanswered_seconds > 0", POD),
        ),
        times(
            201,
            "Stages of a delivery, p99",
            About(
                "p99 of each stage: read (route, token, event), decide (same event or new one), publish (until Kafka "
                "or the disk has it), answer (until the socket has it).",
                "publish takes the longest, some milliseconds; read and answer below 1 ms.",
                "publish: Kafka or the disk. decide: the disk of the index, or a catch-up with Kafka after a start. "
                "read and answer: the event loop is busy, see Runtime.",
            ),
            Query(quantile(0.99, _STAGE, by="stage"), "{{stage}}"),
            width=12,
        ),
        lines(
            104,
            "Answers 5xx by reason",
            About(
                "Answers 5xx a minute, by reason. Each makes Aurora retry, and counts toward switching the "
                "subscription off.",
                "None.",
                "spool_full: bring Kafka back, or raise SPOOL__MAX_BYTES. spool_failed: the disk. too_late: neither "
                "Kafka nor the disk answers. kafka_*: Kafka is away and there is no spool. overloaded: something "
                "hangs.",
            ),
            Query(
                f'60 * sum by (reason) (rate(aurora_bridge_refusals_total{{reason=~"{OUR_FAULT}"}}{INTERVAL}))',
                "{{reason}}",
            ),
            unit=units.CountsPerMinute,
            width=12,
        ),
    ),
)

_RUNTIME = Section(
    "Runtime",
    (
        times(
            601,
            "Lag of the event loop",
            About(
                "How late the loop woke up, by pod: every delivery waits for so long. p99, and the longest stall in "
                "the time of a point, as the bound of the bucket that has it.",
                "Below 10 ms.",
                "The process gets too little CPU (a limit?), or something blocks it. Look at CPU to the right; the log "
                "has each stall, with its length.",
            ),
            Query(quantile(0.99, _LAG, by="pod, instance"), f"p99 {POD}"),
            Query(quantile(1, _LAG, by="pod, instance"), f"max {POD}"),
        ),
        lines(
            602,
            "CPU and open files",
            About(
                "Cores in use, of the one that the loop can use, and the share of the file descriptors that the "
                "process may open (connections, mostly), by pod.",
                "A few per cent.",
                "CPU near 100 %: add a replica. Files: clients that connect and stay, a proxy without limits? "
                "INGRESS__MAX_CONNECTIONS and the limit of the process (ulimit -n) belong together.",
            ),
            Query(of_ours(f"rate(process_cpu_seconds_total{INTERVAL})"), f"CPU of {POD}"),
            Query(f"{of_ours('process_open_fds')} / {of_ours('process_max_fds')}", f"files of {POD}"),
            unit=units.PercentUnit,
            steps=FULL,
        ),
        lines(
            603,
            "Memory",
            About(
                "Resident memory, by pod.",
                "Level, below 200 MiB.",
                "docs/bounds.md has the worst case of each part. Growth without an end is a fault: "
                "tell us, with the metrics of that time.",
            ),
            Query(of_ours("process_resident_memory_bytes"), POD),
            unit=units.BytesIEC,
        ),
        lines(
            605,
            "Running since, by version",
            About(
                "Time since the start of each pod's process, with its version. A fall to 0 is a restart.",
                "It climbs; one version, but during an upgrade.",
                "Restarts that nobody asked for: the end of the log before says why; exit code 1 is the disk, or a "
                "fault. Two versions for long: an upgrade is stuck; the version before can read the state files.",
            ),
            Query(
                "(time() - process_start_time_seconds)"
                " * on (cluster, namespace, job, instance) group_left (version) aurora_bridge_build_info",
                f"{POD} {{{{version}}}}",
            ),
            unit=units.DurationSeconds,
            width=12,
        ),
        lines(
            607,
            "Connections dropped",
            About(
                "Connections a minute that were closed without an answer, by port and why: limit, too many at once; "
                "handshake, no TLS within 10 s; descriptors, no file left; heads, long headers took too much memory.",
                "None, but a health check of a TLS port that only connects.",
                "limit, heads: somebody floods the port; let Aurora, your proxy and your monitoring alone reach it. "
                "descriptors: raise the limit of open files (ulimit -Hn, LimitNOFILE=).",
            ),
            Query(
                f"60 * sum by (port, reason) (rate(aurora_bridge_connections_dropped_total{INTERVAL}))",
                "{{port}}, {{reason}}",
            ),
            unit=units.CountsPerMinute,
            width=12,
        ),
    ),
)


def pipeline() -> Dashboard:
    """Return the dashboard."""
    return framed(
        "pipeline",
        "Pipeline",
        "Where deliveries spend their time, and how Kafka, spool, index and process are.",
        "now-3h",
        _ANSWERS,
        KAFKA,
        SPOOL,
        _RUNTIME,
        REQUESTS,
        INDEX,
    )
