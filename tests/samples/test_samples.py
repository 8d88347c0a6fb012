"""The recorded deliveries are complete, and of one mind with the catalogue."""

import json
from hashlib import sha256
from typing import Any

import pytest

from aurora_bridge.outcomes import DeadLetterReason
from aurora_bridge.webhook.catalogue import (
    CATALOGUE,
    DEAD_LETTER,
    LEGACY_NAMES,
    UNRECOGNIZED,
    EventType,
    Recurrence,
    recurrence_of,
    subject_of,
    unknown_values,
)
from tests.e2e.recompute import canonical_json
from tests.samples.load import Sample, load_fingerprints, load_samples

SAMPLES = load_samples()
PUBLISHED = [sample for sample in SAMPLES if sample.expect["outcome"] == "published"]


@pytest.mark.parametrize("sample", PUBLISHED, ids=str)
def test_what_a_sample_expects_follows_from_the_catalogue(sample: Sample) -> None:
    expect, data = sample.expect, sample.expect["data"]
    name = expect["type"].removeprefix("com.aurorasolar.")
    event_type = CATALOGUE.get(name, EventType(name))
    recurrence = recurrence_of(event_type, data)
    if recurrence is Recurrence.STATE and "***" in "".join(filter(None, data.values())):
        recurrence = Recurrence.SIGNAL  # another state may look the same
    assert (
        expect["topic"],
        expect["subject"],
        expect["recurrence"],
        tuple(expect.get("unknown_values", ())),
    ) == (
        name if name in CATALOGUE else UNRECOGNIZED,
        subject_of(event_type, data),
        recurrence,
        unknown_values(event_type, data),
    )


def test_every_event_has_a_sample_of_its_own() -> None:
    assert set(CATALOGUE) | {UNRECOGNIZED} == {sample.expect["topic"] for sample in PUBLISHED}


def test_every_recurrence_that_an_event_can_have_has_a_sample() -> None:
    possible = {(event_type.name, event_type.recurrence) for event_type in CATALOGUE.values()}
    shown = {(sample.expect["topic"], sample.expect["recurrence"]) for sample in PUBLISHED}
    assert set() == possible - shown


def test_every_known_value_has_a_sample() -> None:
    known = {
        (event_type.name, attribute, value)
        for event_type in CATALOGUE.values()
        for attribute, values in event_type.values.items()
        for value in values
    }
    shown = {
        (sample.expect["topic"], attribute, value)
        for sample in PUBLISHED
        for attribute, value in sample.expect["data"].items()
    }
    assert set() == known - shown


def test_every_legacy_name_has_a_sample() -> None:
    paths = {sample.target.decode("latin-1").partition("?")[0].strip("/") for sample in SAMPLES}
    assert set() == set(LEGACY_NAMES) - paths


def test_every_reason_of_a_dead_letter_has_a_sample() -> None:
    letters = [sample for sample in SAMPLES if sample.expect["outcome"] == "dead_lettered"]
    of_written_routes = {DeadLetterReason.NOT_AS_TEMPLATE}  # the samples come by the default route
    assert set(DeadLetterReason) - of_written_routes == {sample.expect["reason"] for sample in letters}
    assert {DEAD_LETTER} == {sample.expect["topic"] for sample in letters}


def test_a_samples_name_is_unique_in_its_file() -> None:
    assert len(SAMPLES) == len({str(sample) for sample in SAMPLES})


def test_no_sample_expects_a_secret_to_come_out() -> None:
    assert any(b"canary-" in sample.target for sample in SAMPLES)
    assert not any("canary-" in json.dumps(sample.expect) for sample in SAMPLES)


@pytest.mark.parametrize("vector", load_fingerprints(), ids=lambda vector: vector["name"])
def test_a_fingerprint_is_the_digest_of_tenant_event_and_attributes_without_nulls(vector: dict[str, Any]) -> None:
    attributes = {name: value for name, value in vector["attributes"].items() if value is not None}
    assert canonical_json([vector["tenant"], vector["event"], attributes]).decode() == vector["canonical"]
    assert vector["fingerprint"] == sha256(vector["canonical"].encode()).hexdigest()[:32]
