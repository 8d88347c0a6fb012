"""Kafka behind TLS, SASL and access control lists: every way in, what is said when it is barred, and how it is fixed.

Whatever bars the way, webhooks are spooled meanwhile, and drain without a restart once it is fixed.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, time
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation

from tests.cli.spools import value_of
from tests.support import http
from tests.support.barred import MINIMAL, arrived, barred, deliver, fixed, problems, secrets_seen, told
from tests.support.certificates import Authority
from tests.support.daemon import PATIENT, SECONDS, Daemon, command
from tests.support.secure import USER, SecureCluster, token
from tests.support.topics import Record, create_topics, produce


@pytest.fixture
def scram(kafka_secure: SecureCluster, tmp_path: Path) -> dict[str, object]:
    """Settings of a daemon that logs in as `USER`, whose password is in `password`."""
    file = tmp_path / "password"
    file.write_text(f"{kafka_secure.password}\n")
    return {
        "kafka__bootstrap_servers": kafka_secure.bootstrap,
        "kafka__security_protocol": "SASL_SSL",
        "kafka__sasl_mechanism": "SCRAM-SHA-512",
        "kafka__sasl_username": USER,
        "kafka__sasl_password_file": file,
        "kafka__tls_ca_file": kafka_secure.authority.file,
    }


# Every way in


def password(kafka: SecureCluster, folder: Path, mechanism: str) -> dict[str, object]:
    file = folder / "secret"
    file.write_text(kafka.password)
    return {"kafka__sasl_mechanism": mechanism, "kafka__sasl_username": USER, "kafka__sasl_password_file": file}


def oauth(_: SecureCluster, folder: Path, mechanism: str) -> dict[str, object]:
    file = folder / "secret"
    file.write_text(token())
    return {"kafka__sasl_mechanism": mechanism, "kafka__sasl_token_file": file}


@pytest.mark.proves("Where each secret lives: Kafka's password or token")
@pytest.mark.parametrize(
    ("mechanism", "credentials"),
    [("PLAIN", password), ("SCRAM-SHA-256", password), ("SCRAM-SHA-512", password), ("OAUTHBEARER", oauth)],
)
def test_an_event_arrives_by_each_mechanism_and_its_secret_stays_where_it_is(
    kafka_secure: SecureCluster,
    common: str,
    tmp_path: Path,
    mechanism: str,
    credentials: Callable[[SecureCluster, Path, str], Mapping[str, Any]],
) -> None:
    settings = {
        "kafka__bootstrap_servers": kafka_secure.bootstrap,
        "kafka__topic_prefix": common,
        "kafka__security_protocol": "SASL_SSL",
        "kafka__tls_ca_file": kafka_secure.authority.file,
        **credentials(kafka_secure, tmp_path, mechanism),
    }
    with Daemon(tmp_path, log__level="debug", **settings, **PATIENT) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon)
        exposed = http.get(daemon.admin_url, "/metrics").body
        daemon.kill()
    assert outcome == "published"
    assert key in arrived(kafka_secure, f"{common}project_created")
    secret = (tmp_path / "secret").read_text()
    assert secrets_seen(daemon, secret) == []
    shown = command("config", cwd=tmp_path, **settings)
    assert (shown.returncode, secret in shown.stdout, secret.encode() in exposed) == (0, False, False)
    tail = command("tail", "--event", "project_created", cwd=tmp_path, **settings)
    assert (tail.returncode, key in tail.stdout) == (0, True)


def test_an_event_arrives_with_a_client_certificate(kafka_secure: SecureCluster, common: str, tmp_path: Path) -> None:
    settings = {
        "kafka__bootstrap_servers": kafka_secure.at("MUTUAL"),
        "kafka__topic_prefix": common,
        "kafka__security_protocol": "SSL",
        "kafka__tls_ca_file": kafka_secure.authority.file,
        "kafka__tls_certificate_file": kafka_secure.certificate,
    }
    with Daemon(tmp_path, **settings, **PATIENT) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon)
    assert outcome == "published"
    assert key in arrived(kafka_secure, f"{common}project_created")
    tail = command("tail", "--event", "project_created", cwd=tmp_path, **settings)
    assert (tail.returncode, key in tail.stdout) == (0, True)


# What bars the way, and how it is fixed


def test_a_wrong_password_is_told_and_fixed_in_its_file(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram["kafka__sasl_password_file"].write_text("wrong-canary")
    with Daemon(tmp_path, log__level="debug", kafka__topic_prefix=common, **scram, **PATIENT) as daemon:
        barred(daemon, "authentication_failed", "refuses our credentials", kafka_secure.bootstrap)
        key, outcome = deliver(daemon)
        scram["kafka__sasl_password_file"].write_text("")
        barred(daemon, "unusable_file", "it is empty", str(scram["kafka__sasl_password_file"]))
        scram["kafka__sasl_password_file"].write_text(kafka_secure.password)
        fixed(daemon)
        daemon.kill()
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")
    assert len(told(daemon, "authentication_failed")) == 2  # when it came, and when it was fixed
    assert secrets_seen(daemon, "wrong-canary", kafka_secure.password) == []


def test_a_refused_token_is_told_and_fixed_in_its_file(
    kafka_secure: SecureCluster, common: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(token(seconds=-60))
    settings = {
        "kafka__bootstrap_servers": kafka_secure.bootstrap,
        "kafka__security_protocol": "SASL_SSL",
        "kafka__sasl_mechanism": "OAUTHBEARER",
        "kafka__sasl_token_file": file,
        "kafka__tls_ca_file": kafka_secure.authority.file,
    }
    with Daemon(tmp_path, kafka__topic_prefix=common, **settings, **PATIENT) as daemon:
        barred(daemon, "token_refused", "refuses our token", kafka_secure.bootstrap)
        file.write_text(token())
        fixed(daemon)


@pytest.mark.proves("To Kafka: a TLS broker gets nothing unless a trusted CA signed its certificate")
def test_an_expired_certificate_of_the_broker_is_told_until_it_is_renewed(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram["kafka__bootstrap_servers"] = kafka_secure.at("EXPIRED")
    with Daemon(tmp_path, kafka__topic_prefix=common, **scram, **PATIENT) as daemon:
        barred(daemon, "certificate_expired", "has expired", kafka_secure.at("EXPIRED"))
        key, outcome = deliver(daemon)
        kafka_secure.renew("EXPIRED")
        fixed(daemon)
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")


@pytest.mark.proves("To Kafka: a broker whose certificate is for another host gets nothing")
def test_a_certificate_for_another_host_is_refused_unless_the_check_is_switched_off(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram |= {"kafka__bootstrap_servers": kafka_secure.at("STRANGER"), "kafka__topic_prefix": common}
    with Daemon(tmp_path, **scram, **PATIENT) as daemon:
        barred(daemon, "host_name_mismatch", "another host name", kafka_secure.at("STRANGER"))
        key, outcome = deliver(daemon)
    assert outcome == "spooled"
    with Daemon(tmp_path, kafka__tls_check_hostname=False, **scram, **PATIENT) as daemon:
        fixed(daemon)
    assert key in arrived(kafka_secure, f"{common}project_created")


@pytest.mark.proves("To Kafka: a TLS broker gets nothing unless a trusted CA signed its certificate")
def test_an_untrusted_authority_is_told_and_fixed_in_its_file(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    trusted = Authority(tmp_path, "another-ca").file
    scram["kafka__tls_ca_file"] = trusted
    with Daemon(tmp_path, kafka__topic_prefix=common, **scram, **PATIENT) as daemon:
        barred(daemon, "certificate_untrusted", "not signed by a trusted authority", kafka_secure.bootstrap)
        trusted.write_bytes(kafka_secure.authority.file.read_bytes())
        fixed(daemon)


def untrusted(_: SecureCluster, folder: Path) -> Path:
    return Authority(folder, "another-ca").sign("ours", USER)


def expired(kafka: SecureCluster, folder: Path) -> Path:
    return Path(shutil.copy(kafka.authority.sign("client-expired", USER, days=0), folder / "ours.pem"))


@pytest.mark.proves("Where each secret lives: the key of Kafka's client certificate")
@pytest.mark.parametrize("certificate", [untrusted, expired])
def test_a_client_certificate_that_the_broker_refuses_is_told_and_fixed_in_its_file(
    kafka_secure: SecureCluster, common: str, tmp_path: Path, certificate: Callable[[SecureCluster, Path], Path]
) -> None:
    ours = certificate(kafka_secure, tmp_path)
    settings = {
        "kafka__bootstrap_servers": kafka_secure.at("MUTUAL"),
        "kafka__security_protocol": "SSL",
        "kafka__tls_ca_file": kafka_secure.authority.file,
        "kafka__tls_certificate_file": ours,
    }
    with Daemon(tmp_path, kafka__topic_prefix=common, **settings, **PATIENT) as daemon:
        barred(daemon, "client_certificate_refused", "refuses our certificate", kafka_secure.at("MUTUAL"))
        ours.write_bytes(kafka_secure.certificate.read_bytes())
        fixed(daemon)


def test_a_topic_that_may_not_be_written_is_told_and_holds_up_no_other(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    kafka_secure.allow(prefix, AclOperation.CREATE, AclOperation.DESCRIBE)
    kafka_secure.allow(f"{prefix}project_created", AclOperation.WRITE)
    with Daemon(tmp_path, kafka__topic_prefix=prefix, **scram, **PATIENT) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon, "lead_changed", "lead_id")
        barred(daemon, "write_denied", "operation Write", f"{prefix}lead_changed")
        assert deliver(daemon)[1] == "published"
        kafka_secure.allow(prefix, AclOperation.WRITE)
        fixed(daemon)
    assert outcome == "spooled"
    assert arrived(kafka_secure, f"{prefix}lead_changed") == [key]


def test_topics_that_may_not_be_seen_are_told(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    create_topics(kafka_secure.plain, f"{prefix}lead_changed")
    kafka_secure.allow(f"{prefix}project_", *MINIMAL)
    with Daemon(tmp_path, kafka__topic_prefix=prefix, kafka__create_topics=False, **scram, **PATIENT) as daemon:
        barred(daemon, "describe_denied", "operation Describe", f"{prefix}agreement_")
        kafka_secure.allow(prefix, AclOperation.DESCRIBE)
        daemon.wait_until("they may be seen", lambda daemon: "describe_denied" not in problems(daemon))
        assert daemon.get(f"/lead_changed?lead_id={uuid4()}").json["outcome"] == "spooled"
        barred(daemon, "write_denied", "operation Write", f"{prefix}lead_changed")


@pytest.mark.proves("To Kafka: the daemon needs the documented rights and no others")
def test_a_user_without_any_rights_is_told_what_is_missing_and_needs_no_more_than_the_documented_ones(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram |= {"kafka__sasl_username": "newcomer", "kafka__topic_prefix": prefix}
    kafka_secure.set_password("newcomer", kafka_secure.password)
    with Daemon(tmp_path, **scram, **PATIENT) as daemon:
        barred(daemon, "producer_id_denied", "a producer id", prefix)
        barred(daemon, "create_denied", "operation Create", f"{prefix}agreement_")
        key, outcome = deliver(daemon)
        kafka_secure.allow(prefix, *MINIMAL, user="newcomer")
        fixed(daemon)
    assert outcome == "spooled"
    assert arrived(kafka_secure, f"{prefix}project_created") == [key]


def test_topics_that_may_not_be_read_are_told_to_a_daemon_that_does_not_know_them_and_to_people(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    create_topics(kafka_secure.plain, f"{prefix}project_created")
    others = Producer({"bootstrap.servers": kafka_secure.plain})
    others.produce(f"{prefix}project_created", b"{}")
    assert others.flush(30) == 0
    kafka_secure.allow(prefix, AclOperation.WRITE, AclOperation.CREATE)
    scram["kafka__topic_prefix"] = prefix
    with Daemon(tmp_path, **scram, **PATIENT) as daemon:
        barred(daemon, "read_denied", "operation Read", f"{prefix}project_created")
        assert deliver(daemon)[1] == "published"
        denied = command("tail", "--event", "project_created", cwd=tmp_path, **scram)
        kafka_secure.allow(prefix, AclOperation.READ)
        fixed(daemon)
    assert (denied.returncode, denied.stdout) == (1, "")
    assert "grant it the operation Read" in denied.stderr


def test_topics_that_may_not_be_read_or_seen_keep_no_other_from_being_printed(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    unread, unseen, free = (f"{prefix}{event}" for event in ("lead_changed", "lead_created", "project_created"))
    create_topics(kafka_secure.plain, unread, unseen, free)
    for number, topic in enumerate((unread, unseen, free)):
        produce(kafka_secure.plain, Record(topic, 0, -1, b"key", value_of(f"{number:032}"), {}, int(time() * 1000)))
    kafka_secure.allow(prefix, AclOperation.READ)
    kafka_secure.forbid(unread, AclOperation.READ)
    kafka_secure.forbid(unseen, AclOperation.DESCRIBE)
    scram["kafka__topic_prefix"] = prefix
    deadline = monotonic() + SECONDS
    while monotonic() < deadline:  # a broker takes note of what is allowed a moment later
        ended = command("tail", cwd=tmp_path, **scram)
        if f"{unread}: our user may not read" in ended.stderr and unseen in ended.stderr:
            break
    assert (ended.returncode, json.loads(ended.stdout)["id"]) == (1, f"{2:032}")
    assert f"{unread}: our user may not read" in ended.stderr
    assert f"Kafka does not show {unseen}: our user may not see" in ended.stderr


# Rotation


@pytest.mark.proves("Where each secret lives: Kafka's password or token")
def test_the_next_connection_has_the_new_password(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram |= {"kafka__sasl_mechanism": "SCRAM-SHA-256", "kafka__sasl_username": "rotating"}
    kafka_secure.set_password("rotating", kafka_secure.password)
    kafka_secure.allow(common, *MINIMAL, user="rotating")
    with Daemon(tmp_path, kafka__topic_prefix=common, **scram, **PATIENT) as daemon:
        fixed(daemon)
        kafka_secure.set_password("rotating", "second-canary")
        scram["kafka__sasl_password_file"].write_text("second-canary")
        before = logins(daemon)
        keys = []
        while logins(daemon) == before:  # the broker ends the session with the first request after its time
            keys.append(deliver(daemon)[0])
        fixed(daemon)
        keys.append(deliver(daemon)[0])  # by way of the spool, should another session end just then
        fixed(daemon)
        daemon.kill()
    assert told(daemon, "authentication_failed") == []
    assert set(keys) <= set(arrived(kafka_secure, f"{common}project_created"))
    assert secrets_seen(daemon, kafka_secure.password, "second-canary") == []


def logins(daemon: Daemon) -> int:
    return daemon.log.read_text().count("Authenticated as rotating")
