"""Routes of a settings file in a daemon as people run it: two tenants, their credentials, and a change of these."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.e2e.stores import Place, Stored, published, spooled
from tests.support.broker import KafkaCluster, NamedKafka
from tests.support.daemon import PATIENT, Daemon, command
from tests.support.http import Headers

HEADER: Final = "X-Aurora-Webhook-Token"
WITHIN_SECONDS: Final = 10
"""A secret that was changed holds by then."""

SETTINGS: Final = """
default_route = false

[[routes]]
template = "https://hooks.example.com/hooks/v2/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed-only"
event = "agreement_status_changed"
tenant = "acme"
filtered = true
tokens_file = "secrets/acme-tokens"
basic_file = "secrets/acme-basic"

[[routes]]
template = "/hooks/v2/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=all"
event = "agreement_status_changed"
tenant = "acme"
tokens_file = "secrets/acme-tokens"

[[routes]]
template = "/sunny/v-<LEAD_ID>.json?key=canary-sunny&by=<SOURCE>&session=<SESSION_TOKEN>"
event = "lead_created"
tenant = "sunny"
tokens_file = "secrets/sunny-tokens"
query_parameter = "key"

[[routes]]
template = "/changed?id=<LEAD_ID>"
event = "lead_changed"
tokens_file = "secrets/changed-tokens"
"""
SECRETS: Final = {
    "acme-tokens": "canary-old\n",
    "acme-basic": "aurora:canary: with colon\n",
    "sunny-tokens": "canary-sunny\n",
    "changed-tokens": "canary-old\n",
}


def basic(pair: str) -> Headers:
    return [("Authorization", f"Basic {b64encode(pair.encode()).decode()}")]


def acme() -> str:
    """Return a target of acme's that nobody used before."""
    return f"/hooks/v2/{uuid4()}?a={uuid4()}&st=signed&kind=signed-only"


def replace(file: Path, text: str) -> None:
    """Change a file at once."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routes")
    (folder / "secrets").mkdir()
    for name, text in SECRETS.items():
        (folder / "secrets" / name).write_text(text)
    (folder / "bridge.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    with Daemon(folder, config=folder / "bridge.toml") as daemon:
        yield daemon


def stored(daemon: Daemon, answer: Any) -> Stored:  # noqa: ANN401 - the answer's JSON
    (found,) = [one for one in spooled(daemon.state) if one.key == answer["id"]]
    return found


@pytest.mark.proves("An attacker cannot: write into another tenant's events")
def test_a_consumer_sees_tenant_attributes_and_route(daemon: Daemon) -> None:
    response = daemon.get("/hooks/v2/p-1?a=a-1&st=signed&kind=signed-only", [(HEADER, "canary-old")])
    assert response.status == 200
    found = stored(daemon, response.json)
    assert found.event["source"] == "/aurora/acme"
    assert found.event["subject"] == "agreement/a-1"
    assert found.event["data"] == {"agreement_id": "a-1", "project_id": "p-1", "status": "signed"}
    assert found.headers["aurora-bridge-route"] == "/hooks/v2/<PROJECT_ID>?kind=signed-only"


def test_the_same_event_by_two_routes_of_a_tenant_is_one(daemon: Daemon) -> None:
    target = acme()
    first, second = (
        daemon.get(one, [(HEADER, "canary-old")]).json for one in (target, target.replace("signed-only", "all"))
    )
    assert (second["outcome"], second["id"]) == ("duplicate", first["id"])


def test_a_token_in_the_query_lets_in_and_reaches_nobody(daemon: Daemon) -> None:
    response = daemon.get("/sunny/v-l-1.json?key=canary-sunny&by=api&session=canary-session")
    assert response.status == 200
    found = stored(daemon, response.json)
    assert (found.event["source"], found.event["data"]) == ("/aurora/sunny", {"lead_id": "l-1", "source": "api"})
    dead = daemon.get("/sunny/v-l-2.json?key=canary-sunny&by=%FF&session=canary-session&token=canary")
    assert dead.json["outcome"] == "dead_lettered"
    assert stored(daemon, dead.json).event["data"]["target"] == "/sunny/v-l-2.json?key=***&by=%FF&session=***&token=***"
    out = [json.dumps(one.event) + json.dumps(dict(one.headers)) for one in spooled(daemon.state)]
    assert "canary" not in "".join(out) + daemon.log.read_text() + str(daemon.metrics())


@pytest.mark.proves("An attacker cannot: write into another tenant's events")
@pytest.mark.parametrize(
    ("target", "method", "headers", "status"),
    [
        ("/agreement_status_changed?agreement_id=1&status=signed", "GET", [(HEADER, "canary-old")], 404),
        ("/hooks/v2/1?a=1&st=signed&kind=other", "GET", [(HEADER, "canary-old")], 404),
        ("/hooks/v2/1?a=1&st=signed&kind=all", "POST", [], 405),
        ("/hooks/v2/1?a=1&st=signed&kind=all", "GET", [], 401),
        ("/hooks/v2/1?a=1&st=signed&kind=all", "GET", [(HEADER, "canary-sunny")], 401),
        ("/hooks/v2/1?a=1&st=signed&kind=all", "GET", basic("aurora:canary: with colon"), 401),
        ("/sunny/v-1.json?by=api&key=canary-old", "GET", [], 401),
    ],
)
def test_what_is_outside_of_every_route_or_has_no_credential_of_its_route_is_refused(
    daemon: Daemon, target: str, method: str, headers: Headers, status: int
) -> None:
    assert daemon.get(target, headers, method=method).status == status


def test_a_subscription_moves_from_basic_to_a_header_and_the_count_shows_it(daemon: Daemon, folder: Path) -> None:
    file = str(folder / "secrets" / "acme-basic")

    def uses(kind: str) -> float:
        return daemon.metrics().value("aurora_bridge_credentials_used_total", kind=kind, position="1")

    with_basic, with_header = uses("basic"), uses("header")
    assert daemon.get(acme(), basic("aurora:canary: with colon")).status == 200
    assert daemon.get(acme(), [(HEADER, "canary-old"), *basic("wrong:pair")]).status == 200
    assert (uses("basic"), uses("header")) == (with_basic + 1, with_header + 1)
    assert daemon.metrics().value("aurora_bridge_credentials_used_total", file=file) == with_basic + 1


class Deliveries(threading.Thread):
    """Delivers one after the other, with whatever the headers are then."""

    def __init__(self, daemon: Daemon, headers: Headers) -> None:
        super().__init__(daemon=True)
        self._daemon = daemon
        self.headers = headers
        self.statuses: list[int] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self.statuses.append(self._daemon.get("/changed?id=1", self.headers).status)


def test_a_token_is_changed_under_deliveries_without_a_refusal(daemon: Daemon, folder: Path) -> None:
    file = folder / "secrets" / "changed-tokens"
    subscription = Deliveries(daemon, [(HEADER, "canary-old")])

    def status(token: str) -> int:
        return daemon.get("/changed?id=2", [(HEADER, token)]).status

    def wait_until(token: str, expected: int) -> None:
        daemon.wait_until(f"{token} gets {expected}", lambda _: status(token) == expected, WITHIN_SECONDS)

    subscription.start()
    replace(file, "canary-new\ncanary-old\n")
    wait_until("canary-new", 200)
    subscription.headers = [(HEADER, "canary-new")]
    replace(file, "canary-new\n")
    wait_until("canary-old", 401)
    subscription.ended.set()
    subscription.join()
    assert set(subscription.statuses) == {200}
    replace(file, "\n")
    daemon.wait_until("an empty file is told", lambda it: it.metrics().value("aurora_bridge_secret_file_failing"))
    assert status("canary-new") == 200
    replace(file, SECRETS[file.name])
    errors = [line["message"] for line in daemon.log_lines() if line["level"] == "ERROR"]
    assert errors == [f"{file} holds no token. Write one per line; what it held before stays in force"]


def test_what_is_wrong_with_the_routes_stops_the_start_with_every_problem_and_no_traceback(
    folder: Path, tmp_path: Path
) -> None:
    file = folder / "wrong.toml"
    file.write_text(SETTINGS + SETTINGS.partition("\n\n")[2] + '\n[[routes]]\ntemplate = "/<A><B>"\nevent = "x"\n')
    ended = command("serve", cwd=tmp_path, config=file, ingress__port=0, admin__port=0)
    assert (ended.returncode, ended.stdout) == (78, "")
    starting, *lines, stopped = ended.stderr.splitlines()
    assert (json.loads(starting)["message"], json.loads(stopped)["message"]) == ("starting", "stopped")
    assert [line.partition(" could both match one request")[0] for line in lines[1:]] == [
        f"[[routes]] number {number} and [[routes]] number {number + 4}" for number in (1, 2, 3, 4)
    ]
    assert lines[0].startswith("[[routes]] number 9: the template '/<A><B>' cannot be used")
    assert "canary" not in ended.stderr


def test_in_binary_mode_kafka_holds_the_data_as_value_and_tail_prints_the_event(
    kafka: KafkaCluster | NamedKafka, prefix: str, tmp_path: Path
) -> None:
    place = Place(prefix, kafka.bootstrap)
    with place.daemon(tmp_path, kafka__content_mode="binary", kafka__partitions=1, **PATIENT) as daemon:
        place.settle(daemon)
        answer = daemon.get("/project_status_changed?project_id=p&status=caf%C3%A9").json
        assert answer["outcome"] == "published"
    (record,) = published(kafka.bootstrap, prefix)
    assert json.loads(record.value) == {"project_id": "p", "status": "café"}
    found = {name: record.headers[f"ce_{name}"] for name in ("id", "type", "source", "subject", "specversion")}
    assert found == {
        "id": answer["id"],
        "type": "com.aurorasolar.project_status_changed",
        "source": "/aurora/default",
        "subject": "project/p",
        "specversion": "1.0",
    }
    assert record.headers["content-type"] == "application/json"
    kafka_settings = {"kafka__bootstrap_servers": kafka.bootstrap, "kafka__topic_prefix": prefix}
    printed = command("tail", "--event", "project_status_changed", cwd=tmp_path, **kafka_settings)
    (event,) = [json.loads(line) for line in printed.stdout.splitlines()]
    assert (event["id"], event["data"], event["repeat"]) == (answer["id"], {"project_id": "p", "status": "café"}, False)
