"""What the README and the guarantees tell a reader to run does what they say."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

from tests.e2e.stores import Place
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, Daemon, command

REPOSITORY: Final = Path(__file__).parents[2]
INGRESS: Final = "http://127.0.0.1:8080"
BROKER: Final = {"AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9092"}
OF_ITS_TIME: Final = re.compile(r"\d{8}(T\d{9})?$|^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
"""The end of an id, or a `time`."""


def section(page: str, heading: str) -> str:
    """Return what stands below a heading."""
    _, _, below = (REPOSITORY / page).read_text().partition(f"\n## {heading}\n")
    assert below, f"{page} has no heading {heading!r}"
    return below.partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def parsed(line: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables that a command line sets, and its words."""
    words = shlex.split(line)
    variables = [word for word in words if re.match(r"[A-Z_]+=", word)]
    return dict(word.split("=", 1) for word in variables), words[len(variables) :]


def deliver(daemon: Daemon, line: str) -> dict[str, Any]:
    """Send the webhook of a curl command to a daemon; return its answer."""
    _, (program, url) = parsed(line)
    assert (program, url[: len(INGRESS)]) == ("curl", INGRESS)
    answer: dict[str, Any] = daemon.get(url.removeprefix(INGRESS)).json
    return answer


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """Return it with digits in the place of what differs each time."""
    digits = {
        name: OF_ITS_TIME.sub(lambda found: re.sub(r"\d", "0", found[0]), document[name])
        for name in ("id", "time")
        if name in document
    }
    return document | digits


def settle(place: Place, daemon: Daemon) -> None:
    """Return once events go where they are kept, and states have ids of a day."""
    place.settle(daemon)
    daemon.wait_until("the index is complete", lambda it: it.metrics().value("aurora_bridge_index_complete"))


def test_from_curl_to_a_kafka_topic(kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path) -> None:
    text = section("README.md", "From `curl` to a Kafka topic")
    webhook, read, start_kafka, start, read_kafka = (parsed(block) for block in blocks(text, "sh"))
    answer, event = (json.loads(block) for block in blocks(text, "json"))
    curl = shlex.join(webhook[1])
    environment = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}

    with Daemon(tmp_path, **PATIENT) as daemon:
        settle(Place(), daemon)
        assert timeless(deliver(daemon, curl)) == timeless(answer)
        assert deliver(daemon, curl)["outcome"] == "duplicate"
        assert read == ({}, [".venv/bin/aurora-bridge", "tail"])
        shown = command(*read[1][1:], cwd=tmp_path, state_dir=daemon.state).stdout
        assert timeless(json.loads(shown)) == timeless(event)
        daemon.terminate()

    assert (start_kafka[1], start) == (["make", "kafka"], (BROKER, ["make", "run"]))
    with Daemon(tmp_path, **PATIENT, **environment) as daemon:
        daemon.wait_until_connected()
        assert read_kafka[0] == BROKER
        shown = command(*read_kafka[1][1:], cwd=tmp_path, state_dir=daemon.state, **environment).stdout
        assert timeless(json.loads(shown)) == timeless(event)
        assert deliver(daemon, curl.replace("a-1", "a-2"))["outcome"] == "published"


def test_an_agreements_life_in_the_guarantees(place: Place, tmp_path: Path) -> None:
    (console,) = blocks(section("docs/guarantees.md", "When two deliveries are one event"), "console")
    lines = console.splitlines()
    with place.daemon(tmp_path, **PATIENT) as daemon:
        settle(place, daemon)
        for typed, said in zip(lines[::2], lines[1::2], strict=True):
            expected = json.loads(said.replace("published", place.outcome))
            assert timeless(deliver(daemon, typed.removeprefix("$ "))) == timeless(expected)
