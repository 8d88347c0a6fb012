"""Kafka with tokens that the daemon obtains itself: from an identity provider, or signed for Amazon MSK with IAM.

As in `test_kafka_security`: whatever bars the way, webhooks are spooled meanwhile, and drain once it is fixed.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from aiohttp import web

from tests.support import http
from tests.support.barred import arrived, barred, deliver, fixed, secrets_seen, told
from tests.support.daemon import PATIENT, Daemon, command
from tests.support.identity import AUDIENCE, CLIENT, SCOPE, SECRET
from tests.support.msk import REGION, Keys, MskFront
from tests.support.ports import HOST
from tests.support.secure import SecureCluster


@pytest.fixture(autouse=True)
def _identity(kafka_secure: SecureCluster) -> Iterator[None]:
    """Undo what a test did to the identity provider."""
    yield
    identity = kafka_secure.identity
    identity.answer, identity.audience, identity.seconds = None, AUDIENCE, 3600


@pytest.fixture
def signed(kafka_secure: SecureCluster, common: str, tmp_path: Path) -> dict[str, Any]:
    """Settings of a daemon that gets its tokens from the identity provider, with the right secret in `secret`."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    return {
        "kafka__bootstrap_servers": kafka_secure.at("OIDC"),
        "kafka__topic_prefix": common,
        "kafka__security_protocol": "SASL_SSL",
        "kafka__sasl_mechanism": "OAUTHBEARER",
        "kafka__oauth_token_url": kafka_secure.identity.token_url,
        "kafka__oauth_client_id": CLIENT,
        "kafka__oauth_client_secret_file": file,
        "kafka__oauth_scope": SCOPE,
        "kafka__oauth_extensions": "logicalCluster=lkc-1,identityPoolId=pool-1",
        "kafka__oauth_ca_file": kafka_secure.authority.file,
        "kafka__tls_ca_file": kafka_secure.authority.file,
        **PATIENT,
    }


@pytest.mark.proves("Where each secret lives: the tokens that these give")
def test_an_event_arrives_by_a_signed_token_and_the_secrets_stay_where_they_are(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    with Daemon(tmp_path, log__level="debug", **signed) as daemon:
        daemon.wait_until_connected()
        key, outcome = deliver(daemon)
        exposed = http.get(daemon.admin_url, "/metrics").body
        daemon.kill()
    assert outcome == "published"
    assert key in arrived(kafka_secure, f"{common}project_created")
    tail = command("tail", "--event", "project_created", cwd=tmp_path, **signed)
    assert (tail.returncode, key in tail.stdout) == (0, True)
    secrets = [SECRET, quote_plus(SECRET), *kafka_secure.identity.given]
    assert secrets_seen(daemon, *secrets) == []
    shown = command("config", cwd=tmp_path, **signed)
    assert shown.returncode == 0
    assert not any(secret in text for secret in secrets for text in (shown.stdout, tail.stderr, exposed.decode()))


@pytest.mark.proves("Where each secret lives: the client secret for Kafka's identity provider")
def test_a_client_that_the_identity_provider_refuses_is_told_and_fixed_in_its_file(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    secret, endpoint = signed["kafka__oauth_client_secret_file"], kafka_secure.identity.token_url
    secret.write_text("wrong-canary")
    with Daemon(tmp_path, log__level="debug", **signed) as daemon:
        barred(daemon, "token_client_refused", "it answered 401 invalid_client", f"{endpoint}: the identity provider")
        key, outcome = deliver(daemon)
        secret.write_text(SECRET)
        fixed(daemon)
        daemon.kill()
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")
    assert secrets_seen(daemon, "wrong-canary", SECRET, quote_plus(SECRET), *kafka_secure.identity.given) == []


@pytest.mark.brokers
def test_an_identity_provider_that_is_away_is_told_until_it_is_back(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    async def away() -> web.Response:
        return web.Response(status=503)

    kafka_secure.identity.answer = away
    endpoint = kafka_secure.identity.token_url
    with Daemon(tmp_path, **signed) as daemon:
        barred(daemon, "token_endpoint_failed", "it answered 503", f"{endpoint}: no token from the identity provider")
        key, outcome = deliver(daemon)
        tail = command("tail", "--event", "project_created", cwd=tmp_path, **signed)
        kafka_secure.identity.answer = None
        fixed(daemon)
    assert (outcome, tail.returncode, f"({endpoint}: it answered 503)" in tail.stderr) == ("spooled", 1, True)
    assert key in arrived(kafka_secure, f"{common}project_created")


@pytest.mark.brokers
def test_an_identity_provider_that_goes_away_holds_nothing_up_while_the_token_is_valid(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    async def away() -> web.Response:
        return web.Response(status=503)

    with Daemon(tmp_path, **signed) as daemon:
        daemon.wait_until_connected()
        kafka_secure.identity.answer = away
        asked = len(kafka_secure.identity.asked)
        kafka_secure.nodes[0].terminate()
        key, outcome = deliver(daemon)
        kafka_secure.nodes[0].restart()
        fixed(daemon)
        assert deliver(daemon)[1] == "published"
    assert (outcome, len(kafka_secure.identity.asked)) == ("spooled", asked)
    assert key in arrived(kafka_secure, f"{common}project_created")


@pytest.mark.brokers
def test_a_signed_token_that_the_broker_refuses_is_told_and_another_one_is_obtained(
    kafka_secure: SecureCluster, common: str, signed: dict[str, Any], tmp_path: Path
) -> None:
    kafka_secure.identity.audience = "another"
    with Daemon(tmp_path, **signed) as daemon:
        barred(daemon, "token_refused", "refuses our token", kafka_secure.at("OIDC"))
        key, outcome = deliver(daemon)
        kafka_secure.identity.audience = AUDIENCE
        fixed(daemon)
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
        fixed(daemon)
    assert told(daemon, "token_refused") == []
    assert len(kafka_secure.identity.given) >= before + 2
    assert set(keys) <= set(arrived(kafka_secure, f"{common}project_created"))


@pytest.fixture
def front(kafka_secure: SecureCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[MskFront]:
    """What stands for an Amazon MSK with IAM, whose tokens it checks. Nothing of this machine's AWS gets there."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
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
    credentials = folder / "credentials"  # re-read for each token, as a role's are
    daemon.surroundings = nothing | {"AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    if role is not None:
        assume(credentials, role)
    return daemon


def assume(credentials: Path, role: Keys) -> None:
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    credentials.write_text("\n".join(["[default]", *map(" = ".join, zip(names, role, strict=True))]))


@pytest.mark.proves("Where each secret lives: AWS credentials for MSK")
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


@pytest.mark.brokers
def test_credentials_of_aws_that_are_missing_are_told_and_used_once_they_are_there(
    kafka_secure: SecureCluster, common: str, front: MskFront, tmp_path: Path
) -> None:
    with msk(kafka_secure, tmp_path, common, None) as daemon:
        barred(daemon, "aws_credentials_failed", "none found", f"AWS credentials for {REGION}: no AWS credentials")
        key, outcome = deliver(daemon)
        assume(tmp_path / "credentials", front.keys)
        fixed(daemon)
    assert outcome == "spooled"
    assert key in arrived(kafka_secure, f"{common}project_created")


@pytest.mark.brokers
def test_a_role_of_aws_that_the_broker_refuses_is_told_until_it_is_let_in(
    kafka_secure: SecureCluster, common: str, front: MskFront, tmp_path: Path
) -> None:
    with msk(kafka_secure, tmp_path, common, front.keys._replace(secret="another")) as daemon:  # noqa: S106
        barred(daemon, "token_refused", "kafka-cluster:Connect", f"{HOST}:{kafka_secure.front_port}")
        assume(tmp_path / "credentials", front.keys)
        fixed(daemon)
