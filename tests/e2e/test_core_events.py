"""The events that the bridge was made for go through the daemon, each into a topic of its own, of a real broker."""

from pathlib import Path
from typing import Final

from tests.e2e.stores import Place
from tests.samples.load import load_samples
from tests.support.broker import KafkaCluster, NamedKafka

CORE: Final = {
    "agreement_status_changed",
    "ahj_lookup_completed",
    "asset_created",
    "auto_designer_job_completed",
    "consumption_profile_changed",
    "design_created",
    "design_request_completed",
    "design_request_rejected",
    "lead_changed",
    "lead_converted",
    "lead_created",
    "lead_solar_estimation_job_completed",
    "panel_irradiance_analysis_job_completed",
    "performance_simulation_job_completed",
    "plan_set_request_status_changed",
    "project_created",
    "project_deleted",
    "project_status_changed",
    "web_proposal_url_created",
}


def test_each_core_event_arrives_in_a_topic_of_its_own(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    place = Place(prefix, kafka.bootstrap)
    samples = {sample.expect.get("topic"): sample for sample in load_samples()}
    with place.daemon(tmp_path) as daemon:
        place.settle(daemon)
        ids = {name: daemon.get(samples[name].target).json["id"] for name in CORE}
        arrived = {stored.topic: stored.key for stored in place.read(daemon)}
    assert ids == arrived
