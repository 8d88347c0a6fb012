"""Tokens for Amazon MSK are what its own library signs, with the credentials of the process; no error tells them."""

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from aurora_bridge.kafka import msk
from aurora_bridge.kafka.msk import MskSigner
from aurora_bridge.kafka.security import Security
from aurora_bridge.kafka.tokens import Token, TokenError
from aurora_bridge.settings import KafkaSettings
from tests.support.msk import REGION, Keys, fields_of, is_signed

KEYS = Keys()


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")


@pytest.fixture
def role(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.environment.items():
        monkeypatch.setenv(name, value)


async def refusal(signer: MskSigner) -> TokenError:
    with pytest.raises(TokenError) as refused:
        await signer.obtain()
    return refused.value


@pytest.mark.usefixtures("role")
async def test_a_token_is_an_address_of_the_region_that_the_role_signed() -> None:
    token = await MskSigner(REGION).obtain()
    assert is_signed(token.value, KEYS)
    assert not is_signed(token.value, KEYS._replace(secret="another"))  # noqa: S106
    assert not is_signed(token.value, KEYS, "us-east-1")
    assert fields_of(token.value)["User-Agent"].startswith("aws-msk-iam-sasl-signer-python/")
    assert 800 < token.seconds <= 900


@pytest.mark.usefixtures("role")
async def test_a_connection_is_given_it_as_a_token_of_oauthbearer() -> None:
    told: list[object] = []
    settings = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", aws_region=REGION)
    options = Security(settings, on_token=told.append).options()
    source = options["sasl_oauth_token_provider"]
    first, second = await source.token(), await source.token()
    assert (options["sasl_mechanism"], source.extensions(), first == second) == ("OAUTHBEARER", {}, True)
    assert is_signed(first, KEYS)
    assert told == [None]
    assert not any(secret in repr([options, source]) for secret in (*KEYS, first))


async def test_without_credentials_it_is_told_that_there_are_none() -> None:
    error = await refusal(MskSigner(REGION))
    assert (error.reason, str(error)) == (
        "aws_credentials_failed",
        f"TokenError: AWS credentials for {REGION}: none found",
    )


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, code: object) -> None:
        super().__init__(KEYS.secret)
        self.response = {"Error": {"Code": code, "Message": KEYS.secret}}


@pytest.mark.proves("Where each secret lives: AWS credentials for MSK")
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ClientError("AccessDenied"), "ClientError AccessDenied"),
        (ClientError(KEYS.secret), "ClientError"),
        (ClientError(7), "ClientError"),
        (ValueError(KEYS.secret), "ValueError"),
        (ModuleNotFoundError(KEYS.secret), "ModuleNotFoundError"),
    ],
    ids=["denied", "no code", "no word", "unexpected", "not installed"],
)
async def test_of_an_error_type_and_code_alone_are_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    def fails(_region: str) -> Any:  # noqa: ANN401
        raise error

    monkeypatch.setattr(msk, "import_module", lambda _: SimpleNamespace(generate_auth_token=fails))
    assert (await refusal(MskSigner(REGION))).why == why


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_an_aws_that_hangs_is_given_up_and_left_alone_until_it_answers(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    asked = []

    def hangs(region: str) -> tuple[str, float]:
        asked.append(region)
        gate.wait(30)
        return "token", 0

    monkeypatch.setattr(msk, "import_module", lambda _: SimpleNamespace(generate_auth_token=hangs))
    monkeypatch.setattr(msk, "_SECONDS", 0.05)
    signer = MskSigner(REGION)
    assert (await refusal(signer)).why == "AWS did not answer within 0.05 s"
    assert (await refusal(signer)).why == "AWS has still not answered"
    assert asked == [REGION]
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "msk-signer":
            thread.join(30)
    monkeypatch.setattr(msk, "_SECONDS", 30)
    assert isinstance(await signer.obtain(), Token)
