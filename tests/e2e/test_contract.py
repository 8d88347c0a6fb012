"""What comes out for what comes in: every recorded delivery, over a socket, into the embedded log and real Kafka."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.e2e.recompute import canonical_json, fingerprint, partition_of
from tests.e2e.stores import Place, Stored
from tests.samples.load import Sample, load_samples
from tests.support.daemon import PATIENT
from tests.support.http import Connection, Response

RAW_BYTES: Final = "quirks/raw_bytes.json"
"""What the HTTP server's parser refuses before the bridge sees it."""

SAMPLES: Final = [sample for sample in load_samples() if sample.file != RAW_BYTES]
UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PARTITIONS: Final = 3
IDS: Final = {
    "once": r"{0}",
    "state": r"{0}\.\d{{8}}(T\d{{9}})?",
    "signal": r"{0}\.\d{{8}}T\d{{9}}",
}
"""What an id looks like, by recurrence; the braces stand for the fingerprint."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A sample as it was delivered: under ids of its own, so that it is no duplicate of another sample."""

    target: bytes
    expect: Mapping[str, Any]
    response: Response
    stored: Stored | None
    repeat: bool
    """Whether the same event, which then has no id that could be renewed, was delivered before."""


@dataclass(frozen=True, slots=True)
class Run:
    """All samples, delivered one after the other to one daemon."""

    place: Place
    began: datetime
    ended: datetime
    by_sample: Mapping[str, Delivered]

    @property
    def stored(self) -> Iterator[tuple[Delivered, Stored]]:
        """Yield what was kept, with the delivery that it comes from."""
        for delivered in self.by_sample.values():
            if delivered.stored is not None:
                yield delivered, delivered.stored


@pytest.fixture(scope="module")
def run(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Deliver every sample and read back what was kept."""
    with place.daemon(tmp_path_factory.mktemp("contract"), kafka__partitions=PARTITIONS, **PATIENT) as daemon:
        place.settle(daemon)
        began = datetime.now(UTC)
        with Connection(daemon.url) as connection:
            asked = [(sample, *_renewed(sample)) for sample in SAMPLES]
            answered = [(*question, connection.get(question[1])) for question in asked]
        ended = datetime.now(UTC)
        kept = {stored.key: stored for stored in place.read(daemon)}
    delivered, seen = {}, set[str]()
    for sample, target, expect, response in answered:
        stored = kept.get(response.json["id"])
        identity = stored.event["fingerprint"] if stored else ""
        delivered[str(sample)] = Delivered(target, expect, response, stored, identity in seen)
        seen.add(identity)
    return Run(place, began, ended, delivered)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_delivery_gets_its_answer_and_becomes_its_event(run: Run, sample: Sample) -> None:
    delivered = run.by_sample[str(sample)]
    expect, response, stored = delivered.expect, delivered.response, delivered.stored
    outcome = run.place.outcome if expect["outcome"] == "published" else expect["outcome"]
    assert (expect["status"], outcome, expect.get("reason")) == (
        response.status,
        response.json["outcome"],
        response.json.get("reason"),
    )
    assert ("topic" in expect) == (stored is not None)
    if stored is None:
        return
    event = stored.event
    assert (expect["topic"], expect["type"], delivered.repeat) == (stored.topic, event["type"], event["repeat"])
    if "data" in expect:
        assert (expect["subject"], expect["data"]) == (event.get("subject"), event["data"])
    assert re.fullmatch(IDS[expect.get("recurrence", "signal")].format(event["fingerprint"]), event["id"])


def test_nothing_is_kept_twice_or_beside_the_deliveries(run: Run) -> None:
    ids = [stored.key for _, stored in run.stored]
    assert len(set(ids)) == len(ids) == sum("topic" in delivered.expect for delivered in run.by_sample.values())


def test_an_event_is_a_cloud_event_with_exactly_these_members(run: Run) -> None:
    members = {"data", "datacontenttype", "dataschema", "fingerprint", "id", "repeat", "source", "specversion"}
    members |= {"time", "type"}
    for delivered, stored in run.stored:
        event, name = stored.event, stored.topic
        assert members | ({"subject"} if delivered.expect.get("subject") else set()) == event.keys()
        assert (
            "application/json",
            f"urn:aurora-bridge:schema:{name}:1",
            "/aurora/default",
            "1.0",
        ) == (event["datacontenttype"], event["dataschema"], event["source"], event["specversion"])


def test_an_event_is_written_in_canonical_json(run: Run) -> None:
    for _, stored in run.stored:
        assert canonical_json(stored.event) == stored.value


def test_an_events_fingerprint_can_be_computed_from_the_event(run: Run) -> None:
    for _, stored in run.stored:
        event = stored.event
        name = event["type"].removeprefix("com.aurorasolar.").replace("aurora-bridge.", "")
        assert fingerprint("default", name, event["data"]) == event["fingerprint"]


def test_an_events_time_is_that_of_its_receipt(run: Run) -> None:
    slack = timedelta(milliseconds=1)
    for _, stored in run.stored:
        time = stored.event["time"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
        assert run.began - slack <= datetime.fromisoformat(time) <= run.ended + slack


def test_a_records_key_is_its_events_id(run: Run) -> None:
    for _, stored in run.stored:
        assert stored.event["id"] == stored.key


def test_a_records_headers_are_what_belongs_to_the_delivery_rather_than_to_the_event(run: Run) -> None:
    instances = set()
    for delivered, stored in run.stored:
        headers = dict(stored.headers)
        instances.add(headers.pop("aurora-bridge-instance"))
        family = headers.pop("aurora-bridge-family", None)
        assert (family is not None) == (delivered.expect.get("recurrence") == "state")
        assert family is None or re.fullmatch("[0-9a-f]{32}", family)
        assert headers == {
            "content-type": "application/cloudevents+json; charset=UTF-8",
            "aurora-bridge-route": "default",
            "aurora-bridge-attempt": "1",
        }
    assert len(instances) == 1


@pytest.mark.proves("An attacker can: With a valid credential")
def test_the_trace_of_a_delivery_is_passed_on_by_the_bytes_of_its_headers(place: Place, tmp_path: Path) -> None:
    parent, state = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "congo=t61rcWkgMzE,rojo=00f067aa"
    told: dict[str, dict[str, str]] = {}
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        for lines in (
            f"traceparent: {parent}\r\ntracestate: {state}\r\n",
            f"TraceParent:\t{parent} \r\nTRACESTATE: congo=t61rcWkgMzE\r\nTracestate:rojo=00f067aa\r\n",
            f"traceparent: {parent.upper()}\r\ntracestate: {state}\r\n",
            f"traceparent: {parent}\r\ntraceparent: {parent}\r\n",
            f"traceparent: {parent}\r\ntracestate: {state},no member\r\n",
            f"tracestate: {state}\r\n",
        ):
            with Connection(daemon.url) as connection:
                connection.send(f"GET /lead_changed?lead_id=1 HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
                told[connection.receive().json["id"]] = {}
        for stored in place.read(daemon):
            if stored.key in told:
                told[stored.key] = {name: text for name, text in stored.headers.items() if name.startswith("trace")}
    both = {"traceparent": parent, "tracestate": state}
    assert list(told.values()) == [both, both, {}, {}, {"traceparent": parent}, {}]


@pytest.mark.proves("the subject chooses the partition")
def test_a_records_partition_is_the_default_partitioners_choice_for_its_subject(run: Run) -> None:
    for _, stored in run.stored:
        event = stored.event
        chosen = partition_of(event.get("subject", event["id"]), PARTITIONS)
        assert (chosen if run.place.bootstrap else None) == stored.partition


@pytest.mark.proves("what is malformed or unknown is kept, and no URL names a topic")
def test_a_dead_letter_keeps_the_target_and_the_reason(run: Run) -> None:
    letters = [(delivered, stored) for delivered, stored in run.stored if stored.topic == "dead_letter"]
    assert letters
    for delivered, stored in letters:
        data = stored.event["data"]
        assert (delivered.expect["reason"], "default") == (data["reason"], data["route"])
        assert {"event", "reason", "route", "status", "target"} == data.keys()
        assert re.fullmatch(r"[\x21-\x7e]+", data["target"])
        if "canary-" not in delivered.target.decode("latin-1"):
            assert delivered.target.decode("latin-1") == data["target"]


def test_no_secret_of_a_sample_is_kept(run: Run) -> None:
    for _, stored in run.stored:
        assert b"canary-" not in stored.value
        assert "canary-" not in str(stored.headers)


def _renewed(sample: Sample) -> tuple[bytes, Mapping[str, Any]]:
    """Return target and expectation of a sample with a new id for each of its ids."""
    target = sample.target.decode("latin-1")
    fresh = {old: str(uuid4()) for old in UUID.findall(target)}

    def renew(text: str) -> str:
        return UUID.sub(lambda match: fresh.get(match[0], match[0]), text)

    expect: Mapping[str, Any] = json.loads(renew(json.dumps(sample.expect)))
    return renew(target).encode("latin-1"), expect
