"""As a company runs it: two daemons, three brokers with TLS, SCRAM and ACLs, twelve routes of two tenants.

Under load every secret is changed: the tokens, the Basic passwords, the password at Kafka, the certificates of the
ingress. Nothing may be refused meanwhile, and every event that was answered for must be in its topic.
"""

import json
import shutil
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from confluent_kafka.admin import AclOperation

from tests.support.daemon import PROGRAM, Daemon
from tests.support.secure import USER, SecureCluster
from tests.support.topics import read_all

pytestmark = pytest.mark.proves("no secret leaves, and a secret changes without a refusal")

TENANTS: Final = ("acme", "sunny")
SUBSCRIPTIONS: Final = (
    ("agreement_status_changed", "/hooks/{}/agreements/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=signed-only"),
    ("agreement_status_changed", "/hooks/{}/agreements/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>&kind=all"),
    ("project_created", "/hooks/{}/v-<PROJECT_ID>.json?source=<SOURCE>"),
    ("lead_created", "/{}/lead?id=<LEAD_ID>&s=<SOURCE>"),
    ("performance_simulation_job_completed", "/{}/jobs/<DESIGN_ID>/<JOB_ID>?status=is-<STATUS>"),
    ("design_created", "/{}/designs?project=<PROJECT_ID>&design=<DESIGN_ID>&by=<SOURCE>"),
)
ACLS: Final = [AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.CREATE, AclOperation.READ]
SENDERS: Final = 4


@dataclass
class Secrets:
    """The secrets in force, and the files that daemons read them from."""

    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)

    def tokens_file(self, tenant: str) -> Path:
        return self.folder / f"{tenant}-tokens"

    def basic_file(self, tenant: str) -> Path:
        return self.folder / f"{tenant}-basic"

    def headers(self, tenant: str, number: int) -> Mapping[str, str]:
        """Return the credentials of a subscription: those with even numbers use a header, the others Basic."""
        if number % 2:
            pair = f"{tenant}@example.com:{self.passwords[tenant]}"
            return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        return {"X-Aurora-Webhook-Token": self.tokens[tenant]}


def replace(path: Path, text: str) -> None:
    """Change a file at once, as a secret's mount is changed."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(path)


def settings_file(folder: Path) -> Path:
    tables = ["default_route = false"]
    for tenant in TENANTS:
        for number, (event, template) in enumerate(SUBSCRIPTIONS):
            credentials = f'basic_file = "{tenant}-basic"' if number % 2 else f'tokens_file = "{tenant}-tokens"'
            url = f"https://hooks.example.com{template.format(tenant)}"
            tables.append(f'[[routes]]\ntemplate = "{url}"\nevent = "{event}"\ntenant = "{tenant}"\n{credentials}')
    file = folder / "aurora-bridge.toml"
    file.write_text("\n\n".join(tables))
    return file


class Load(threading.Thread):
    """Delivers webhooks to the daemons in turn, one after another, each on a connection of its own now and then."""

    def __init__(self, daemons: list[Daemon], secrets: Secrets, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self.daemons, self.secrets, self.context = daemons, secrets, context
        self.ended = threading.Event()
        self.ids: dict[str, str] = {}
        """By the id of an event: its tenant."""
        self.refused: list[tuple[int, str]] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                for daemon in self.daemons:
                    self._deliver_all(daemon)
        except Exception as error:  # noqa: BLE001 - the test tells it
            self.failure = error

    def _deliver_all(self, daemon: Daemon) -> None:
        """Deliver one event of each subscription over one connection."""
        connection = HTTPSConnection("localhost", urlsplit(daemon.url).port, timeout=15, context=self.context)
        for tenant in TENANTS:
            for number, (_, template) in enumerate(SUBSCRIPTIONS):
                target = template.format(tenant)
                for name in ("PROJECT_ID", "AGREEMENT_ID", "LEAD_ID", "JOB_ID", "DESIGN_ID"):
                    target = target.replace(f"<{name}>", str(uuid4()))
                target = target.replace("<STATUS>", "succeeded").replace("<SOURCE>", "app")
                connection.request("GET", target, headers=dict(self.secrets.headers(tenant, number)))
                response = connection.getresponse()
                body = response.read().decode()
                if response.status == 200:
                    self.ids[json.loads(body)["id"]] = tenant
                else:
                    self.refused.append((response.status, body))
        connection.close()


def daemon_of(folder: Path, cluster: SecureCluster, settings: Mapping[str, object]) -> Daemon:
    """Return a daemon that is started by its console script."""
    folder.mkdir()
    daemon = Daemon(
        folder,
        kafka__bootstrap_servers=cluster.bootstrap,
        kafka__partitions=None,
        kafka__security_protocol="SASL_SSL",
        kafka__sasl_mechanism="SCRAM-SHA-256",
        kafka__sasl_username=USER,
        kafka__tls_ca_file=cluster.authority.file,
        **settings,
    )
    daemon.program = [PROGRAM]
    return daemon


def everywhere(daemons: list[Daemon], what: str, look: Callable[[Daemon], object]) -> None:
    """Return once something is so at every daemon."""
    for daemon in daemons:
        daemon.wait_until(what, look)


def reloads(daemon: Daemon, file: Path) -> float:
    return daemon.metrics().value("aurora_bridge_secret_file_reloads_total", file=str(file))


def change(daemons: list[Daemon], file: Path, text: str) -> None:
    """Change a file; return once every daemon has taken it over."""
    before = {daemon: reloads(daemon, file) for daemon in daemons}
    replace(file, text)
    everywhere(daemons, f"{file} is taken over", lambda daemon: reloads(daemon, file) > before[daemon])


def served_certificate(daemon: Daemon, context: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection to the ingress gets."""
    connection = HTTPSConnection("localhost", urlsplit(daemon.url).port, timeout=15, context=context)
    connection.connect()
    with connection.sock as socket:
        certificate = socket.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


@pytest.mark.proves("Where each secret lives: tokens and Basic pairs of Aurora")
@pytest.mark.slow
def test_every_secret_is_changed_under_load_and_nothing_is_lost_or_refused(
    kafka_secure3: SecureCluster, prefix: str, tmp_path: Path
) -> None:
    cluster = kafka_secure3
    cluster.allow(prefix, *ACLS)
    secrets = Secrets(tmp_path)
    for tenant in TENANTS:
        secrets.tokens[tenant], secrets.passwords[tenant] = f"old-token-{tenant}", f"old: pass wörd {tenant}"
        replace(secrets.tokens_file(tenant), secrets.tokens[tenant])
        replace(secrets.basic_file(tenant), f"{tenant}@example.com:{secrets.passwords[tenant]}")
    kafka_password, certificate = tmp_path / "kafka-password", tmp_path / "ingress.pem"
    replace(kafka_password, cluster.password)
    shutil.copy(cluster.authority.sign("ingress-1", "bridge"), certificate)
    settings = {
        "config": settings_file(tmp_path),
        "ingress__tls_certificate_file": certificate,
        "ingress__tls_key_file": certificate,
        "kafka__topic_prefix": prefix,
        "kafka__sasl_password_file": kafka_password,
    }
    daemons = [daemon_of(tmp_path / name, cluster, settings) for name in ("one", "other")]
    context = ssl.create_default_context(cafile=str(cluster.authority.file))
    with ExitStack() as stack:
        for daemon in daemons:
            stack.enter_context(daemon)
            daemon.wait_until_connected()
        load = [Load(daemons, secrets, context) for _ in range(SENDERS)]
        for sender in load:
            sender.start()

        for tenant in TENANTS:  # both are valid, Aurora's subscriptions move over, the old one goes
            tokens, basic = secrets.tokens_file(tenant), secrets.basic_file(tenant)
            old_token, old_pair = secrets.tokens[tenant], f"{tenant}@example.com:{secrets.passwords[tenant]}"
            new_token, new_password = f"new-token-{tenant}", f"new:pass {tenant}"
            change(daemons, tokens, f"{old_token}\n{new_token}\n")
            change(daemons, basic, f"{old_pair}\n{tenant}@example.com:{new_password}\n")
            secrets.tokens[tenant], secrets.passwords[tenant] = new_token, new_password
            for file in (tokens, basic):
                everywhere(daemons, f"the second line of {file} is used", partial(used, file))
            drain_old(load)
            change(daemons, tokens, f"{new_token}\n")
            change(daemons, basic, f"{tenant}@example.com:{new_password}\n")

        replace(kafka_password, "changed-under-load")
        cluster.set_password(USER, "changed-under-load")
        everywhere(daemons, "Kafka lets us in", lambda daemon: daemon.metrics().value("aurora_bridge_kafka_connected"))

        before = served_certificate(daemons[0], context)
        second = cluster.authority.sign("ingress-2", "bridge")
        change(daemons, certificate, second.read_text())
        assert served_certificate(daemons[0], context) != before
        drain_old(load)

        for sender in load:
            sender.ended.set()
        for sender in load:
            sender.join(30)
        assert [sender.failure for sender in load] == [None] * SENDERS
        assert [refusal for sender in load for refusal in sender.refused] == []
        for daemon in daemons:
            daemon.wait_until_connected()
            assert daemon.metrics().value("aurora_bridge_refusals_total") == 0
            assert daemon.metrics().value("aurora_bridge_other_instances") == 1
            assert daemon.terminate() == 0
    answered = {key: tenant for sender in load for key, tenant in sender.ids.items()}
    stored = {
        json.loads(record.value or b"")["id"]: json.loads(record.value or b"")["source"]
        for record in read_all(cluster.plain, [prefix + event for event in dict.fromkeys(e for e, _ in SUBSCRIPTIONS)])
    }
    assert len(answered) > 500, "hardly a load"
    assert {key: f"/aurora/{tenant}" for key, tenant in answered.items()} == stored


def used(file: Path, daemon: Daemon) -> float:
    """Return how often the second line of a secret file was used."""
    return daemon.metrics().value("aurora_bridge_credentials_used_total", file=str(file), position="2")


def drain_old(load: list[Load]) -> None:
    """Return once every sender has delivered what it began with the secrets of before, and more."""
    before = [len(sender.ids) for sender in load]
    for sender, count in zip(load, before, strict=True):
        while len(sender.ids) < count + 2 * len(TENANTS) * len(SUBSCRIPTIONS) and sender.is_alive():
            sender.ended.wait(0.05)
