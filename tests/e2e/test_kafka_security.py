"""Kafka behind TLS, SASL and access control lists: every way in, what is said when it is barred, and how it is mended.

Whatever bars the way, webhooks are spooled meanwhile, and drain without a restart once it is mended.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic, time
from typing import Any, Final
from urllib.parse import quote_plus
from uuid import uuid4

import pytest
from aiohttp import web
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation

from tests.cli.filling import value_of
from tests.support import http
from tests.support.certificates import Authority
from tests.support.daemon import SECONDS, Daemon, command
from tests.support.identity import AUDIENCE, CLIENT, SCOPE, SECRET
from tests.support.msk import REGION, Keys, MskFront
from tests.support.ports import HOST
from tests.support.secure import USER, SecureCluster, token
from tests.support.topics import Record, create_topics, delete_topics, produce, read_all, topic_names, unique_prefix

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "kafka.md"
ACL_COMMAND: Final = next(block for block in DOCUMENT.read_text().split("```") if "kafka-acls.sh" in block)
MINIMAL: Final = [AclOperation[word.upper()] for word in re.findall(r"--operation (\w+)", ACL_COMMAND)]
"""What the document says that the daemon needs of its topics."""


@pytest.fixture(scope="module")
def common(kafka_secure: SecureCluster) -> Iterator[str]:
    """A prefix whose topics the tests share, and `USER` may use."""
    prefix = unique_prefix()
    kafka_secure.allow(prefix, *MINIMAL)
    yield prefix
    delete_topics(kafka_secure.plain, *topic_names(kafka_secure.plain, prefix))


@pytest.fixture(autouse=True)
def _identity(kafka_secure: SecureCluster) -> Iterator[None]:
    """Undo what a test did to the identity provider."""
    yield
    identity = kafka_secure.identity
    identity.answer, identity.audience, identity.seconds = None, AUDIENCE, 3600


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


def deliver(daemon: Daemon, event: str = "project_created", attribute: str = "project_id") -> tuple[str, str]:
    """Deliver an event that nobody delivered before; return its key and what became of it."""
    response = daemon.get(f"/{event}?{attribute}={uuid4()}&source=app")
    assert response.status == 200
    return response.json["id"], response.json["outcome"]


def arrived(kafka: SecureCluster, topic: str) -> list[str]:
    return [(record.key or b"").decode() for record in read_all(kafka.plain, [topic])]


def problems(daemon: Daemon) -> set[str]:
    """Return the reasons for which the metric is 1."""
    return {
        dict(labels)["reason"]
        for (name, labels), value in daemon.metrics().items()
        if name == "aurora_bridge_kafka_problem" and value
    }


def told(daemon: Daemon, reason: str) -> list[str]:
    """Return what the log says about a reason."""
    return [line["message"] for line in daemon.log_lines() if line.get("reason") == reason]


def barred(daemon: Daemon, reason: str, words: str, about: str) -> None:
    """Check that the reason is told in metric, readiness and log, once there, while the daemon stays ready."""
    daemon.wait_until(f"the metric says {reason}", lambda daemon: reason in problems(daemon))
    status, document = daemon.ready()
    assert status == 200
    said = [line for line in document["reasons"] if words in line and about in line]
    assert len(said) == 1, document
    assert [line for line in told(daemon, reason) if words in line and about in line] != []


def mended(daemon: Daemon) -> None:
    """Wait until all is well again: nothing waits, and nothing is complained of."""
    daemon.wait_until_connected()
    daemon.wait_until("no problem is left", lambda daemon: not problems(daemon))
    assert daemon.ready()[1]["reasons"] == []


def secrets_seen(daemon: Daemon, *secrets: str) -> list[str]:
    """Return those of the secrets that came out somewhere. The daemon must have ended, its state still be there."""
    outputs = [daemon.log.read_bytes(), *(path.read_bytes() for path in daemon.state.iterdir() if path.is_file())]
    return [secret for secret in secrets if any(secret.encode() in output for output in outputs)]


# Every way in


def password(kafka: SecureCluster, folder: Path, mechanism: str) -> dict[str, object]:
    file = folder / "secret"
    file.write_text(kafka.password)
    return {"kafka__sasl_mechanism": mechanism, "kafka__sasl_username": USER, "kafka__sasl_password_file": file}


def oauth(_: SecureCluster, folder: Path, mechanism: str) -> dict[str, object]:
    file = folder / "secret"
    file.write_text(token())
    return {"kafka__sasl_mechanism": mechanism, "kafka__sasl_token_file": file}


def oidc(kafka: SecureCluster, folder: Path, mechanism: str) -> dict[str, object]:
    file = folder / "secret"
    file.write_text(SECRET)
    return {
        "kafka__bootstrap_servers": kafka.at("OIDC"),
        "kafka__sasl_mechanism": mechanism,
        "kafka__oauth_token_url": kafka.identity.token_url,
        "kafka__oauth_client_id": CLIENT,
        "kafka__oauth_client_secret_file": file,
        "kafka__oauth_scope": SCOPE,
        "kafka__oauth_extensions": "logicalCluster=lkc-1,identityPoolId=pool-1",
        "kafka__oauth_ca_file": kafka.authority.file,
    }


@pytest.mark.parametrize(
    ("mechanism", "credentials"),
    [
        ("PLAIN", password),
        ("SCRAM-SHA-256", password),
        ("SCRAM-SHA-512", password),
        ("OAUTHBEARER", oauth),
        ("OAUTHBEARER", oidc),
    ],
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
    with Daemon(tmp_path, log__level="debug", **settings) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon)
        exposed = http.get(daemon.admin_url, "/metrics").body
        daemon.kill()
    assert outcome == "published"
    assert key in arrived(kafka_secure, f"{common}project_created")
    secret = (tmp_path / "secret").read_text()
    assert secrets_seen(daemon, secret, quote_plus(secret), *kafka_secure.identity.given) == []
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
    with Daemon(tmp_path, **settings) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon)
    assert outcome == "published"
    assert key in arrived(kafka_secure, f"{common}project_created")
    tail = command("tail", "--event", "project_created", cwd=tmp_path, **settings)
    assert (tail.returncode, key in tail.stdout) == (0, True)


@pytest.fixture
def front(kafka_secure: SecureCluster, common: str) -> Iterator[MskFront]:
    """What stands for an Amazon MSK with IAM, whose tokens it checks."""
    del common
    certificate, upstream = kafka_secure.broker_certificate, kafka_secure.at("MSK")
    with MskFront(kafka_secure.front_port, upstream, certificate, Keys()) as front:
        yield front


def msk(kafka: SecureCluster, folder: Path, prefix: str, role: Keys | None) -> Daemon:
    """Return a daemon that signs in to `front` with a role, or without any credentials of AWS."""
    settings = {
        "kafka__bootstrap_servers": f"{HOST}:{kafka.front_port}",
        "kafka__topic_prefix": prefix,
        "kafka__security_protocol": "SASL_SSL",
        "kafka__sasl_mechanism": "AWS_MSK_IAM",
        "kafka__aws_region": REGION,
        "kafka__tls_ca_file": kafka.authority.file,
    }
    daemon = Daemon(folder, log__level="debug", **settings)
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere"}
    credentials = folder / "credentials"  # read anew for each token, as a role's are
    daemon.surroundings = nothing | {"AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    if role is not None:
        assume(credentials, role)
    return daemon


def assume(credentials: Path, role: Keys) -> None:
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    credentials.write_text("\n".join(["[default]", *map(" = ".join, zip(names, role, strict=True))]))


def test_an_event_arrives_by_a_token_that_a_role_of_aws_signed_and_its_secrets_stay_where_they_are(
    kafka_secure: SecureCluster, common: str, front: MskFront, tmp_path: Path
) -> None:
    with msk(kafka_secure, tmp_path, common, front.keys) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon)
        daemon.kill()
    assert outcome == "published"
    assert key in arrived(kafka_secure, f"{common}project_created")
    assert len(set(front.tokens)) == 1 < len(front.tokens)  # one for all connections
    assert secrets_seen(daemon, *front.keys, quote_plus(front.keys.session), *front.tokens) == []


# What bars the way, and how it is mended


def test_credentials_of_aws_that_are_missing_are_told_and_used_once_they_are_there(
    kafka_secure: SecureCluster, common: str, front: MskFront, tmp_path: Path
) -> None:
    with msk(kafka_secure, tmp_path, common, None) as daemon:
        barred(daemon, "aws_credentials_failed", "none are found", f"AWS credentials for {REGION}: no AWS credentials")
        key, outcome = deliver(daemon)
        assume(tmp_path / "credentials", front.keys)
        mended(daemon)
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")


def test_a_role_of_aws_that_the_broker_refuses_is_told_until_it_is_let_in(
    kafka_secure: SecureCluster, common: str, front: MskFront, tmp_path: Path
) -> None:
    with msk(kafka_secure, tmp_path, common, front.keys._replace(secret="another")) as daemon:  # noqa: S106
        barred(daemon, "token_refused", "kafka-cluster:Connect", f"{HOST}:{kafka_secure.front_port}")
        assume(tmp_path / "credentials", front.keys)
        mended(daemon)


def test_a_wrong_password_is_told_and_mended_in_its_file(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram["kafka__sasl_password_file"].write_text("wrong-canary")
    with Daemon(tmp_path, log__level="debug", kafka__topic_prefix=common, **scram) as daemon:
        barred(daemon, "authentication_failed", "refuses our credentials", kafka_secure.bootstrap)
        key, outcome = deliver(daemon)
        scram["kafka__sasl_password_file"].write_text("")
        barred(daemon, "unusable_file", "it is empty", str(scram["kafka__sasl_password_file"]))
        scram["kafka__sasl_password_file"].write_text(kafka_secure.password)
        mended(daemon)
        daemon.kill()
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")
    assert len(told(daemon, "authentication_failed")) == 2  # when it came, and when it was mended
    assert secrets_seen(daemon, "wrong-canary", kafka_secure.password) == []


def test_a_refused_token_is_told_and_mended_in_its_file(
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
    with Daemon(tmp_path, kafka__topic_prefix=common, **settings) as daemon:
        barred(daemon, "token_refused", "refuses our token", kafka_secure.bootstrap)
        file.write_text(token())
        mended(daemon)


@pytest.fixture
def signed(kafka_secure: SecureCluster, common: str, tmp_path: Path) -> dict[str, Any]:
    """Settings of a daemon that gets its tokens from the identity provider, with the right secret in `secret`."""
    return {
        "kafka__topic_prefix": common,
        "kafka__security_protocol": "SASL_SSL",
        "kafka__tls_ca_file": kafka_secure.authority.file,
        **oidc(kafka_secure, tmp_path, "OAUTHBEARER"),
    }


def test_a_client_that_the_identity_provider_refuses_is_told_and_mended_in_its_file(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    secret, endpoint = signed["kafka__oauth_client_secret_file"], kafka_secure.identity.token_url
    secret.write_text("wrong-canary")
    with Daemon(tmp_path, log__level="debug", **signed) as daemon:
        barred(daemon, "token_client_refused", "it answers 401 invalid_client", f"{endpoint}: the identity provider")
        key, outcome = deliver(daemon)
        secret.write_text(SECRET)
        mended(daemon)
        daemon.kill()
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")
    assert secrets_seen(daemon, "wrong-canary", SECRET, quote_plus(SECRET), *kafka_secure.identity.given) == []


def test_an_identity_provider_that_is_away_is_told_until_it_is_back(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    async def away() -> web.Response:
        return web.Response(status=503)

    kafka_secure.identity.answer = away
    endpoint = kafka_secure.identity.token_url
    with Daemon(tmp_path, **signed) as daemon:
        barred(daemon, "token_endpoint_failed", "it answers 503", f"{endpoint}: no token from the identity provider")
        key, outcome = deliver(daemon)
        kafka_secure.identity.answer = None
        mended(daemon)
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")


def test_a_signed_token_that_the_broker_refuses_is_told_and_another_one_is_obtained(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    kafka_secure.identity.audience = "another"
    with Daemon(tmp_path, **signed) as daemon:
        barred(daemon, "token_refused", "refuses our token", kafka_secure.at("OIDC"))
        key, outcome = deliver(daemon)
        kafka_secure.identity.audience = AUDIENCE
        mended(daemon)
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")


def test_a_token_is_renewed_before_it_ends_and_the_broker_lets_its_session_go_on_with_the_next(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    kafka_secure.identity.seconds = 5
    before = len(kafka_secure.identity.given)
    with Daemon(tmp_path, **signed) as daemon:
        daemon.wait_until_connected()
        first = daemon.log.read_text().count("Authenticated via OAUTHBEARER")
        keys = [deliver(daemon)[0]]
        while daemon.log.read_text().count("Authenticated via OAUTHBEARER") < first + 3:  # the broker ends sessions
            keys.append(deliver(daemon)[0])
        mended(daemon)
        logins = daemon.log.read_text().count("Authenticated via OAUTHBEARER")
    assert told(daemon, "token_refused") == []
    assert before + 2 <= len(kafka_secure.identity.given) < before + logins
    assert set(keys) <= set(arrived(kafka_secure, f"{common}project_created"))


def test_an_expired_certificate_of_the_broker_is_told_until_it_is_renewed(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram["kafka__bootstrap_servers"] = kafka_secure.at("EXPIRED")
    with Daemon(tmp_path, kafka__topic_prefix=common, **scram) as daemon:
        barred(daemon, "certificate_expired", "out of date", kafka_secure.at("EXPIRED"))
        key, outcome = deliver(daemon)
        kafka_secure.renew("EXPIRED")
        mended(daemon)
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")


def test_a_certificate_for_another_host_is_refused_unless_the_check_is_switched_off(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram |= {"kafka__bootstrap_servers": kafka_secure.at("STRANGER"), "kafka__topic_prefix": common}
    with Daemon(tmp_path, **scram) as daemon:
        barred(daemon, "host_name_mismatch", "another host name", kafka_secure.at("STRANGER"))
        key, outcome = deliver(daemon)
    assert outcome == "spooled"
    with Daemon(tmp_path, kafka__tls_check_hostname=False, **scram) as daemon:
        mended(daemon)
    assert key in arrived(kafka_secure, f"{common}project_created")


def test_an_untrusted_authority_is_told_and_mended_in_its_file(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    trusted = Authority(tmp_path, "another-ca").file
    scram["kafka__tls_ca_file"] = trusted
    with Daemon(tmp_path, kafka__topic_prefix=common, **scram) as daemon:
        barred(daemon, "certificate_untrusted", "not signed by an authority", kafka_secure.bootstrap)
        trusted.write_bytes(kafka_secure.authority.file.read_bytes())
        mended(daemon)


def untrusted(_: SecureCluster, folder: Path) -> Path:
    return Authority(folder, "another-ca").sign("ours", USER)


def expired(kafka: SecureCluster, folder: Path) -> Path:
    return Path(shutil.copy(kafka.authority.sign("client-expired", USER, days=0), folder / "ours.pem"))


@pytest.mark.parametrize("certificate", [untrusted, expired])
def test_a_client_certificate_that_the_broker_refuses_is_told_and_mended_in_its_file(
    kafka_secure: SecureCluster, common: str, tmp_path: Path, certificate: Callable[[SecureCluster, Path], Path]
) -> None:
    ours = certificate(kafka_secure, tmp_path)
    settings = {
        "kafka__bootstrap_servers": kafka_secure.at("MUTUAL"),
        "kafka__security_protocol": "SSL",
        "kafka__tls_ca_file": kafka_secure.authority.file,
        "kafka__tls_certificate_file": ours,
    }
    with Daemon(tmp_path, kafka__topic_prefix=common, **settings) as daemon:
        barred(daemon, "client_certificate_refused", "refuses our certificate", kafka_secure.at("MUTUAL"))
        ours.write_bytes(kafka_secure.certificate.read_bytes())
        mended(daemon)


def test_a_topic_that_may_not_be_written_is_told_and_holds_up_no_other(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    kafka_secure.allow(prefix, AclOperation.CREATE, AclOperation.DESCRIBE)
    kafka_secure.allow(f"{prefix}project_created", AclOperation.WRITE)
    with Daemon(tmp_path, kafka__topic_prefix=prefix, **scram) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon, "lead_changed", "lead_id")
        barred(daemon, "write_denied", "operation Write", f"{prefix}lead_changed")
        assert deliver(daemon)[1] == "published"
        kafka_secure.allow(prefix, AclOperation.WRITE)
        mended(daemon)
    assert outcome == "spooled"
    assert arrived(kafka_secure, f"{prefix}lead_changed") == [key]


def test_topics_that_may_not_be_seen_are_told(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    create_topics(kafka_secure.plain, f"{prefix}lead_changed")
    kafka_secure.allow(f"{prefix}project_", *MINIMAL)
    with Daemon(tmp_path, kafka__topic_prefix=prefix, kafka__create_topics=False, **scram) as daemon:
        barred(daemon, "describe_denied", "operation Describe", f"{prefix}agreement_")
        kafka_secure.allow(prefix, AclOperation.DESCRIBE)
        daemon.wait_until("they may be seen", lambda daemon: "describe_denied" not in problems(daemon))
        assert daemon.get(f"/lead_changed?lead_id={uuid4()}").json["outcome"] == "spooled"
        barred(daemon, "write_denied", "operation Write", f"{prefix}lead_changed")


def test_a_user_without_any_rights_is_told_what_is_missing_and_needs_no_more_than_the_documented_ones(
    kafka_secure: SecureCluster, prefix: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram |= {"kafka__sasl_username": "newcomer", "kafka__topic_prefix": prefix}
    kafka_secure.set_password("newcomer", kafka_secure.password)
    with Daemon(tmp_path, **scram) as daemon:
        barred(daemon, "producer_id_denied", "no producer id", prefix)
        barred(daemon, "create_denied", "operation Create", f"{prefix}agreement_")
        key, outcome = deliver(daemon)
        kafka_secure.allow(prefix, *MINIMAL, user="newcomer")
        mended(daemon)
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
    with Daemon(tmp_path, **scram) as daemon:
        barred(daemon, "read_denied", "operation Read", f"{prefix}project_created")
        assert deliver(daemon)[1] == "published"
        denied = command("tail", "--event", "project_created", cwd=tmp_path, **scram)
        kafka_secure.allow(prefix, AclOperation.READ)
        mended(daemon)
    assert (denied.returncode, denied.stdout) == (1, "")
    assert "allow it the operation Read" in denied.stderr


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


def test_the_next_connection_has_the_new_password(
    kafka_secure: SecureCluster, common: str, scram: dict[str, Any], tmp_path: Path
) -> None:
    scram |= {"kafka__sasl_mechanism": "SCRAM-SHA-256", "kafka__sasl_username": "rotating"}
    kafka_secure.set_password("rotating", kafka_secure.password)
    kafka_secure.allow(common, *MINIMAL, user="rotating")
    with Daemon(tmp_path, kafka__topic_prefix=common, **scram) as daemon:
        mended(daemon)
        kafka_secure.set_password("rotating", "second-canary")
        scram["kafka__sasl_password_file"].write_text("second-canary")
        before = logins(daemon)
        keys = []
        while logins(daemon) == before:  # the broker ends the session with the first request after its time
            keys.append(deliver(daemon)[0])
        mended(daemon)
        keys.append(deliver(daemon)[0])  # by way of the spool, should another session end just then
        mended(daemon)
        daemon.kill()
    assert told(daemon, "authentication_failed") == []
    assert set(keys) <= set(arrived(kafka_secure, f"{common}project_created"))
    assert secrets_seen(daemon, kafka_secure.password, "second-canary") == []


def logins(daemon: Daemon) -> int:
    return daemon.log.read_text().count("Authenticated as rotating")
