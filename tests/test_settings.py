"""Settings: where they come from, and that a refusal says which, its value, what is expected and what to do."""

import importlib.util
import json
import tomllib
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from aurora_bridge.os_errors import user
from aurora_bridge.settings import (
    EventSettings,
    IndexSettings,
    IngressSettings,
    RouteSettings,
    Settings,
    SettingsError,
    load,
    redacted,
)
from aurora_bridge.settings.expected_values import choices, expected
from aurora_bridge.settings.names import FILE_ONLY, GROUPS, SETTINGS, variable
from aurora_bridge.webhook.decoding import canonical_name, meant_name

every_setting = pytest.mark.parametrize("key", SETTINGS)

WriteConfig = Callable[[str], Path]


@pytest.fixture
def config(tmp_path: Path) -> WriteConfig:
    def write(text: str) -> Path:
        file = tmp_path / "bridge.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def problems(config_file: Path | None = None, /, **environ: str) -> tuple[str, ...]:
    """Return the problems of an environment whose names are given without their prefix."""
    with pytest.raises(SettingsError) as refused:
        load(config_file, {f"AURORA_BRIDGE_{name}": value for name, value in environ.items()})
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems


def loaded(config_file: Path | None = None, /, **environ: str) -> Settings:
    return load(config_file, {f"AURORA_BRIDGE_{name}": value for name, value in environ.items()})


# Names and documentation


def test_the_names_that_others_build_on_are_all_there() -> None:
    fixed = """
        INGRESS__HOST INGRESS__PORT INGRESS__BASE_PATH ADMIN__HOST ADMIN__PORT STATE_DIR TENANT EMBEDDED
        KAFKA__BOOTSTRAP_SERVERS KAFKA__TOPIC_PREFIX KAFKA__CREATE_TOPICS KAFKA__COMPRESSION KAFKA__CLIENT_ID
        AUTH__TOKENS_FILE AUTH__HEADER AUTH__ALLOW_ANONYMOUS
        DEADLINES__PUBLISH_SECONDS DEADLINES__SPOOL_SECONDS DEADLINES__ANSWER_SECONDS
        SPOOL__ENABLED SPOOL__MAX_BYTES INDEX__MAX_BYTES INDEX__WINDOW_DAYS
    """
    missing = {f"AURORA_BRIDGE_{name}" for name in fixed.split()} - {variable(key) for key in SETTINGS}
    assert missing == set()


@every_setting
def test_every_setting_has_a_docstring_and_words_for_what_is_allowed(key: str) -> None:
    field = SETTINGS[key]
    assert field.description
    assert expected(field)


@pytest.mark.proves("Where each secret lives: No secret is a setting")
def test_no_setting_holds_a_secret_but_the_path_of_its_file() -> None:
    words = ("password", "token", "secret", "key", "basic", "credential")
    about = [key for fields in (SETTINGS, RouteSettings.model_fields) for key in fields if any(w in key for w in words)]
    assert len(about) > 7
    no_secrets = ["ingress.secret_parameters", "kafka.key", "kafka.oauth_token_url"]  # names; which key a record has
    assert [key for key in about if not key.endswith("_file")] == no_secrets


def test_every_group_has_a_docstring() -> None:
    undocumented = [group for group in GROUPS if not type(getattr(Settings(), group)).__doc__]
    assert undocumented == []


@pytest.mark.parametrize("written", ["10.0.0.0/8, ::1", "10.0.0.0/255.0.0.0,::1/128"])
def test_trusted_proxies_are_networks_and_addresses(written: str, config: WriteConfig) -> None:
    expected = (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert loaded(INGRESS__TRUSTED_PROXIES=written).ingress.trusted_proxies == expected
    file = config('[ingress]\ntrusted_proxies = ["10.0.0.0/8", "::1"]')
    assert loaded(file).ingress.trusted_proxies == expected
    assert loaded(INGRESS__TRUSTED_PROXIES="").ingress.trusted_proxies == ()


@pytest.mark.parametrize("written", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*", "7", "10.0.0.1;10.0.0.2"])
def test_what_is_no_network_is_refused(written: str) -> None:
    (problem,) = problems(INGRESS__TRUSTED_PROXIES=written)
    assert "expected addresses and networks such as 10.0.0.0/8" in problem
    assert problem.endswith("Correct it or leave it out.")


def test_the_proxy_protocol_needs_a_proxy_to_believe() -> None:
    (problem,) = problems(INGRESS__PROXY_PROTOCOL="true")
    assert "AURORA_BRIDGE_INGRESS__TRUSTED_PROXIES" in problem
    assert loaded(INGRESS__PROXY_PROTOCOL="true", INGRESS__TRUSTED_PROXIES="10.0.0.1").ingress.proxy_protocol


def test_a_number_is_no_network(config: WriteConfig) -> None:
    assert len(problems(config("[ingress]\ntrusted_proxies = [7]"))) == 1


def test_settings_cannot_be_changed_once_made() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.tenant = "other"
    with pytest.raises(ValidationError):
        settings.ingress.port = 1


def test_the_promised_defaults_hold_when_nothing_is_set() -> None:
    settings = load(None, {})
    assert settings == Settings()
    assert (settings.ingress.host, settings.ingress.port, settings.admin.port) == ("127.0.0.1", 8080, 9090)
    assert (settings.tenant, settings.kafka.topic_prefix, settings.kafka.partitions) == ("default", "aurora.", 3)
    assert settings.auth.header == "X-Aurora-Webhook-Token"
    deadlines = settings.deadlines
    assert (deadlines.publish_seconds, deadlines.spool_seconds, deadlines.answer_seconds) == (3, 5, 8)
    assert settings.embedded_log


def test_settings_made_in_code_do_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURORA_BRIDGE_TENANT", "acme")
    assert Settings().tenant == "default"


# Where values come from


@pytest.mark.parametrize(
    ("name", "given_text", "key", "expected"),
    [
        ("INGRESS__PORT", "0", "ingress.port", 0),
        ("INGRESS__HOST", "::1", "ingress.host", "::1"),
        ("INGRESS__BASE_PATH", "/hooks/aurora/", "ingress.base_path", "/hooks/aurora"),
        ("INGRESS__BASE_PATH", "/", "ingress.base_path", "/"),
        ("INGRESS__MALFORMED_STATUS", "422", "ingress.malformed_status", 422),
        ("INGRESS__SECRET_PARAMETERS", "token, api_key", "ingress.secret_parameters", ("token", "api_key")),
        ("INGRESS__LOG_DELIVERIES", "yes", "ingress.log_deliveries", True),
        ("INGRESS__KEEPALIVE_SECONDS", "1.5", "ingress.keepalive_seconds", 1.5),
        ("KAFKA__BOOTSTRAP_SERVERS", "a:1 , [::1]:9092", "kafka.bootstrap_servers", "a:1,[::1]:9092"),
        ("KAFKA__BOOTSTRAP_SERVERS", "", "kafka.bootstrap_servers", ""),
        ("KAFKA__TOPIC_PREFIX", "", "kafka.topic_prefix", ""),
        ("KAFKA__REPLICATION_FACTOR", "3", "kafka.replication_factor", 3),
        ("KAFKA__REPLICATION_FACTOR", "", "kafka.replication_factor", None),
        ("KAFKA__COMPRESSION", "gzip", "kafka.compression", "gzip"),
        ("KAFKA__CONNECTIONS_MAX_IDLE_SECONDS", "90.5", "kafka.connections_max_idle_seconds", 90.5),
        ("EMBEDDED", "true", "embedded", True),
        ("EMBEDDED", "", "embedded", None),
        ("AUTH__TOKENS_FILE", "", "auth.tokens_file", None),
        ("STATE_DIR", "state", "state_dir", Path("state")),
        ("LOG__FORMAT", "json", "log.format", "json"),
        ("LOG__LEVEL", "INFO", "log.level", "info"),
        ("LOG__FORMAT", " Json", "log.format", "json"),
        ("KAFKA__COMPRESSION", "None", "kafka.compression", "none"),
        ("KAFKA__KEY", "SUBJECT", "kafka.key", "subject"),
        ("SPOOL__MAX_BYTES", "1GiB", "spool.max_bytes", 2**30),
        ("INDEX__MAX_BYTES", "1.5 gb", "index.max_bytes", 1_500_000_000),
        ("INGRESS__MAX_TARGET_BYTES", "16kib", "ingress.max_target_bytes", 16_384),
        ("INDEX__REPEAT_WINDOW_SECONDS", "24h", "index.repeat_window_seconds", 86_400),
        ("INGRESS__KEEPALIVE_SECONDS", "1.5 M", "ingress.keepalive_seconds", 90),
        ("INGRESS__SHUTDOWN_PAUSE_SECONDS", "500ms", "ingress.shutdown_pause_seconds", 0.5),
        ("KAFKA__CONNECTIONS_MAX_IDLE_SECONDS", "3m", "kafka.connections_max_idle_seconds", 180),
        ("DEADLINES__PUBLISH_SECONDS", "2s", "deadlines.publish_seconds", 2),
        ("INDEX__WINDOW_DAYS", "720h", "index.window_days", 30),
        ("SPOOL__RETENTION_DAYS", "2w", "spool.retention_days", 14),
        ("KAFKA__RETENTION_DAYS", "7D", "kafka.retention_days", 7),
    ],
)
def test_a_variable_sets_its_setting(name: str, given_text: str, key: str, expected: object) -> None:
    value: Any = loaded(**{name: given_text})
    for part in key.split("."):
        value = getattr(value, part)
    assert value == expected


@given(st.text(max_size=8).map(lambda raw: canonical_name(meant_name(raw))).filter(bool))
@example("_")
@example("_ga")
@example("größe")
def test_every_name_that_an_attribute_can_have_can_be_written_in_every_setting_that_takes_names(name: str) -> None:
    assert IndexSettings(volatile_attributes=(name,)).volatile_attributes == (name,)
    assert IngressSettings(secret_parameters=(name,)).secret_parameters == (name,)
    event = EventSettings(identifier=name, state_attribute=name, volatile_attributes=(name,))
    assert (event.identifier, event.state_attribute, event.volatile_attributes) == (name, name, (name,))


def test_the_environment_wins_over_the_file_setting_by_setting(config: WriteConfig) -> None:
    file = config('tenant = "acme"\n[ingress]\nport = 1000\nbase_path = "/a"\nsecret_parameters = ["sid"]')
    settings = loaded(file, INGRESS__PORT="2000", TENANT="other")
    expected = IngressSettings(port=2000, base_path="/a", secret_parameters=("sid",))
    assert (settings.tenant, settings.ingress) == ("other", expected)


def test_the_file_can_be_named_in_the_environment(config: WriteConfig) -> None:
    assert loaded(CONFIG=str(config('tenant = "acme"'))).tenant == "acme"


def test_a_file_given_to_the_command_wins_over_the_one_named_in_the_environment(config: WriteConfig) -> None:
    assert loaded(config('tenant = "acme"'), CONFIG="/nowhere.toml").tenant == "acme"


def test_an_empty_config_variable_names_no_file() -> None:
    assert loaded(CONFIG="") == Settings()


def test_relative_paths_start_at_the_file_that_has_them(config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("t\n")
    settings = loaded(config('state_dir = "state"\n[auth]\ntokens_file = "tokens"'))
    assert (settings.state_dir, settings.auth.tokens_file) == (tmp_path / "state", tmp_path / "tokens")


def test_an_absolute_path_in_the_file_stays(config: WriteConfig) -> None:
    assert loaded(config('state_dir = "/var/lib/bridge"')).state_dir == Path("/var/lib/bridge")


# Variables that are no settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "tcp://10.96.0.7:8080"),
        ("PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("PORT_8080_TCP_PROTO", "tcp"),
        ("PORT_53_UDP", "udp://10.96.0.7:53"),
        ("SERVICE_HOST", "10.96.0.7"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("SERVICE_PORT_HTTP_METRICS", "9090"),
        ("ADMIN_PORT", "tcp://10.96.0.8:9090"),
        ("ADMIN_PORT_9090_TCP_ADDR", "10.96.0.8"),
        ("ADMIN_SERVICE_HOST", "10.96.0.8"),
        ("ADMIN_SERVICE_PORT", "9090"),
        ("KAFKA_BROKERS_SERVICE_PORT_TLS", "9093"),
    ],
)
def test_what_kubernetes_sets_beside_a_service_of_that_name_is_ignored(name: str, value: str) -> None:
    assert loaded(**{name: value}) == Settings()


def test_variables_of_other_programs_are_ignored() -> None:
    assert load(None, {"AURORA_BRIDGEHEAD": "x", "PATH": "/bin", "aurora_bridge_tenant": "x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("INGRES__PORT", "8080", "INGRESS__PORT"),
        ("INGRESS_PORT", "8080", "INGRESS__PORT"),
        ("ADMIN_PORT", "9090", "ADMIN__PORT"),
        ("AUTH__TOKEN_FILE", "/run/tokens", "AUTH__TOKENS_FILE"),
        ("KAFKA__BOOTSTRAP_SERVER", "kafka:9092", "KAFKA__BOOTSTRAP_SERVERS"),
        ("BOOTSTRAP_SERVERS", "kafka:9092", "KAFKA__BOOTSTRAP_SERVERS"),
        ("STATEDIR", "/data", "STATE_DIR"),
    ],
)
def test_a_misspelt_variable_stops_the_start_with_the_name_that_was_meant(name: str, value: str, meant: str) -> None:
    expected = (
        f"AURORA_BRIDGE_{name}: no setting has this name; did you mean AURORA_BRIDGE_{meant}? "
        "Correct the name or unset it; `aurora-bridge config` lists every setting."
    )
    assert problems(**{name: value}) == (expected,)


def test_a_setting_that_a_command_replaced_is_refused_with_the_command(config: WriteConfig) -> None:
    instead = (
        "this setting is gone; `aurora-bridge resend begin` has taken its place, which needs no restart and ends by "
        "itself after 24 h."
    )
    variable = "AURORA_BRIDGE_INDEX__RESEND_IN_PROGRESS"
    assert problems(INDEX__RESEND_IN_PROGRESS="false") == (f"{variable}: {instead} Unset it.",)
    file = config("[index]\nresend_in_progress = true")
    assert problems(file) == (f"index.resend_in_progress in {file}: {instead} Remove it.",)


def test_a_variable_like_no_setting_is_refused_without_a_guess() -> None:
    expected = (
        "AURORA_BRIDGE_XYZZY: no setting has this name. "
        "Correct the name or unset it; `aurora-bridge config` lists every setting."
    )
    assert problems(XYZZY="1") == (expected,)


def test_a_group_is_no_variable() -> None:
    assert problems(INGRESS='{"port": 1}')[0].startswith("AURORA_BRIDGE_INGRESS: no setting has this name")


@pytest.mark.proves("Where each secret lives: The value of an unknown variable is not shown")
def test_the_value_of_an_unknown_variable_is_not_shown_since_it_may_be_a_secret() -> None:
    assert "canary" not in "".join(problems(AUTH__TOKEN="canary"))  # noqa: S106 - a canary


def test_a_variable_below_a_setting_is_refused() -> None:
    assert problems(INGRESS__PORT__X="1")[0].startswith("AURORA_BRIDGE_INGRESS__PORT__X: no setting has this name")


# Values that are not allowed


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("INGRESS__HOST", "", "an address or a name of this machine; 0.0.0.0 is every IPv4 address, :: every address"),
        ("INGRESS__HOST", "256.1.1.1", "an address or a name of this machine; 0.0.0.0 is every IPv4 address"),
        ("ADMIN__HOST", "10.0.0", "an address or a name of this machine; 0.0.0.0 is every IPv4 address"),
        ("INGRESS__HOST", "127.0.0.1:80", "an address or a name of this machine; 0.0.0.0 is every IPv4 address"),
        ("INGRESS__PORT", "http", "a port from 0 to 65535; 0 takes a free one"),
        ("INGRESS__PORT", "65536", "a port from 0 to 65535; 0 takes a free one"),
        ("ADMIN__PORT", "-1", "a port from 0 to 65535; 0 takes a free one"),
        ("INGRESS__BASE_PATH", "hooks", "/, or a path such as /hooks/aurora of letters, digits, - . _ ~"),
        ("INGRESS__BASE_PATH", "/a//b", "/, or a path such as /hooks/aurora of letters, digits, - . _ ~"),
        ("INGRESS__BASE_PATH", "/-", "/, or a path such as /hooks/aurora of letters, digits, - . _ ~"),
        ("INGRESS__MAX_IN_FLIGHT", "0", "a whole number from 1 to 100000"),
        (
            "INGRESS__MAX_TARGET_BYTES",
            "16kiBi",
            "a whole number of bytes from 1024 to 65536, also with a unit (kB, KiB, MB, MiB, GB, GiB)",
        ),
        ("INGRESS__KEEPALIVE_SECONDS", "inf", "a number of seconds from 1 to 3600, also with a unit (ms, s, m, h)"),
        ("INGRESS__SHUTDOWN_PAUSE_SECONDS", "nan", "a number of seconds from 0 to 600"),
        ("INGRESS__MALFORMED_STATUS", "no", "one of 200, 422"),
        ("INGRESS__SECRET_PARAMETERS", "", "names in lower snake_case"),
        ("INGRESS__SECRET_PARAMETERS", "apiKey", "names in lower snake_case"),
        ("INDEX__VOLATILE_ATTRIBUTES", "a__b", "names in lower snake_case"),
        ("INDEX__VOLATILE_ATTRIBUTES", "utm.source", "names in lower snake_case"),
        ("INGRESS__LOG_DELIVERIES", "sometimes", "true or false"),
        ("TENANT", "a/b", "1 to 128 letters, digits, - . _ ~, the first one a letter or a digit"),
        ("STATE_DIR", "", "the path of a folder"),
        ("EMBEDDED", "maybe", "true or false"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka", "host:port, several with commas between"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:0", "host:port, several with commas between"),
        ("KAFKA__BOOTSTRAP_SERVERS", "a:1,,b:2", "host:port, several with commas between"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka://a:1", "host:port, several with commas between"),
        ("KAFKA__TOPIC_PREFIX", "aurora/", "up to 200 of the characters of a topic: letters, digits, . _ -"),
        ("KAFKA__PARTITIONS", "many", "a whole number from 1 to 1000"),
        ("KAFKA__REPLICATION_FACTOR", "0", "a whole number from 1 to 100"),
        ("KAFKA__COMPRESSION", "brotli", "one of none, gzip, snappy, lz4, zstd"),
        ("KAFKA__CONNECTIONS_MAX_IDLE_SECONDS", "3 months", "a number of seconds from 10 to 3600"),
        ("KAFKA__CONNECTIONS_MAX_IDLE_SECONDS", "9", "a number of seconds from 10 to 3600"),
        ("KAFKA__CLIENT_ID", "", "1 to 200 letters, digits, . _ -"),
        ("AUTH__HEADER", "X-Token:", "the name of an HTTP header, without colon"),
        ("DEADLINES__PUBLISH_SECONDS", "0", "seconds above 0, up to 9.5: Aurora gives up after 10"),
        ("DEADLINES__ANSWER_SECONDS", "9.51", "seconds above 0, up to 9.5: Aurora gives up after 10"),
        ("SPOOL__MAX_BYTES", "1GiB and more", "a whole number of bytes from 65536 to 1099511627776"),
        ("INDEX__WINDOW_DAYS", "0", "a whole number of days from 1 to 3650, also with a unit (d, w)"),
        ("LOG__LEVEL", "loud", "one of debug, info, warning, error"),
    ],
)
def test_a_wrong_value_is_refused_with_setting_value_allowed_and_remedy(name: str, value: str, words: str) -> None:
    (problem,) = problems(**{name: value})
    key = name.lower().replace("__", ".")
    assert problem.startswith(f"AURORA_BRIDGE_{name} ({key} in the file): ")
    assert f"invalid {value!r} (from the environment); expected {words}" in problem
    assert "Correct it" in problem
    assert "leave it out" in problem


def test_every_duration_and_size_takes_a_unit() -> None:
    least = {"seconds": "10s", "days": "1d", "bytes": "64KiB"}
    measured = {key: least[unit] for key in SETTINGS if (unit := key.rpartition("_")[2]) in least}
    assert len(measured) > 12
    loaded(
        **{
            key.replace(".", "__").upper(): "9s" if key.endswith("answer_seconds") else given
            for key, given in measured.items()
            if key not in {"deadlines.publish_seconds", "deadlines.spool_seconds"}
        }
    )


def test_every_word_of_a_fixed_set_is_taken_in_any_case() -> None:
    words = {key: str(values[0]).swapcase() for key, field in SETTINGS.items() if (values := choices(field))}
    assert len(words) > 8
    sasl = {"kafka.security_protocol": "sasl_plaintext", "kafka.sasl_mechanism": "plain"}
    with pytest.raises(SettingsError) as refused:  # for what is missing beside them, not for the words
        loaded(**{key.replace(".", "__").upper(): word for key, word in (words | sasl).items()})
    assert "(from the environment)" not in str(refused.value)


def test_a_path_must_be_one_that_can_be_printed(config: WriteConfig) -> None:
    assert "expected the path of a folder, in UTF-8" in problems(STATE_DIR="st\udcffate")[0]
    assert "expected the path of a folder, in UTF-8" in problems(config('state_dir = "a\\u0000b"'))[0]


def test_a_tokens_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    expected = (
        f"AURORA_BRIDGE_AUTH__TOKENS_FILE (auth.tokens_file in the file): invalid '{tmp_path}' (from the environment); "
        f"expected the path of a file that exists and that this user may read. This user is {user()}. "
        "Correct it or leave it out."
    )
    assert problems(AUTH__TOKENS_FILE=str(tmp_path)) == (expected,)


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQ/canary==\n-----END PRIVATE KEY-----\n"


@pytest.mark.proves("No secret comes out: not in a message about a setting")
@pytest.mark.parametrize(
    "secret", ["canary", "can/ary", "/canary", "/can+ary==", "//canary", "./canary", PEM, "x" * 10_000 + "/y"]
)
@pytest.mark.parametrize("key", [key for key, field in SETTINGS.items() if key.endswith("_file")])
def test_a_secret_in_the_place_of_the_file_that_should_hold_it_is_not_shown(
    key: str, secret: str, config: WriteConfig
) -> None:
    group, _, field = key.partition(".")
    file = config(f"[{group}]\n{field} = {json.dumps(secret)}")
    for problem in (*problems(**{key.replace(".", "__").upper(): secret}), *problems(file)):
        assert "invalid *** (hidden, since it may be a secret) (from " in problem
        assert "ary" not in problem


def test_a_path_that_begins_in_a_folder_is_shown(tmp_path: Path, config: WriteConfig) -> None:
    (problem,) = problems(AUTH__TOKENS_FILE=f"{tmp_path}/tokns")
    assert f"invalid '{tmp_path}/tokns' (from the environment)" in problem
    file = config('[auth]\ntokens_file = "secrets/tokns"')
    (file.parent / "secrets").mkdir()
    (problem,) = problems(file, AUTH__TOKENS_FILE=f"{tmp_path}/tokns")
    assert f"invalid '{tmp_path}/tokns' (from the environment)" in problem
    (problem,) = problems(file)
    assert f"invalid '{file.parent}/secrets/tokns' (from {file})" in problem


@pytest.mark.proves("No secret comes out: not in a message about a setting")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH__HEADER", "X-Aurora-Webhook-Token: canary"),
        ("AUTH__HEADER", "Authorization: Bearer canary"),
        ("AUTH__QUERY_PARAMETER", "token=canary"),
        ("INGRESS__PUBLIC_URL", "https://hooks.example.com/x?token=canary"),
        ("KAFKA__BOOTSTRAP_SERVERS", "password=canary,kafka"),
    ],
)
def test_what_a_wrong_value_assigns_to_a_secrets_name_is_not_shown(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert "***" in problem
    assert "canary" not in problem


def test_of_a_credential_that_systemd_took_away_with_the_service_it_is_told_where_it_comes_from() -> None:
    (problem,) = problems(AUTH__TOKENS_FILE="/run/credentials/aurora-bridge.service/secrets_tokens")
    assert "only while the service runs, for its user: otherwise name the file that systemd copies it from" in problem


def test_a_path_that_no_file_can_have_is_refused_like_a_missing_file() -> None:
    (problem,) = problems(AUTH__TOKENS_FILE="x" * 10_000)
    assert "expected the path of a file that exists and that this user may read" in problem


def test_the_whole_message_reads_like_this() -> None:
    expected = (
        "AURORA_BRIDGE_INGRESS__PORT (ingress.port in the file): invalid 'http' (from the environment); expected a "
        "port from 0 to 65535; 0 takes a free one. Correct it, or leave it out for the default, 8080."
    )
    assert problems(INGRESS__PORT="http") == (expected,)


def test_every_problem_is_told_at_once() -> None:
    found = problems(INGRESS__PORT="http", ADMIN__PORT="http", TENAMT="x")
    assert [problem.split(" ")[0].rstrip(":") for problem in found] == [
        "AURORA_BRIDGE_TENAMT",
        "AURORA_BRIDGE_INGRESS__PORT",
        "AURORA_BRIDGE_ADMIN__PORT",
    ]


def test_user_and_password_in_an_address_are_not_shown() -> None:
    (problem,) = problems(KAFKA__BOOTSTRAP_SERVERS="kafka://user:can,a ry@kafka:9092")
    assert "invalid '***@kafka:9092' (from " in problem


def test_a_long_value_is_cut() -> None:
    (problem,) = problems(TENANT="/" * 10_000)
    assert f"invalid '{'/' * 120}...' (from " in problem


@given(value=st.text(st.characters(exclude_characters="\0"), max_size=40), key=st.sampled_from(sorted(SETTINGS)))
def test_no_value_leads_to_anything_but_settings_or_readable_lines(value: str, key: str) -> None:
    try:
        load(None, {variable(key): value})
    except SettingsError as error:
        for problem in error.problems:
            assert problem.isprintable()
            assert key in problem or "ingress.host" in problem or "kafka.bootstrap_servers" in problem
            assert "pydantic" not in problem
            assert "Input should" not in problem


# The file


def test_an_unknown_key_of_the_file_is_refused_with_the_key_that_was_meant(config: WriteConfig) -> None:
    file = config("[ingress]\nprot = 1")
    expected = (
        f"ingress.prot in {file}: no setting has this name; did you mean ingress.port? "
        "Correct the key or remove it; `aurora-bridge config` lists every setting."
    )
    assert problems(file) == (expected,)


def test_an_unknown_table_is_refused_with_the_table_that_was_meant(config: WriteConfig) -> None:
    file = config("[ingres]\nport = 1")
    assert problems(file)[0].startswith(f"ingres in {file}: no setting has this name; did you mean [ingress]? ")


def test_a_key_in_the_wrong_table_is_refused_with_its_place(config: WriteConfig) -> None:
    file = config('[kafka]\nstate_dir = "state"')
    assert problems(file)[0].startswith(
        f"kafka.state_dir in {file}: no setting has this name; did you mean state_dir? "
    )


def test_a_value_in_the_place_of_a_table_is_refused(config: WriteConfig) -> None:
    file = config('kafka = "kafka:9092"')
    expected = f"kafka in {file}: not a table. Write its settings below a line [kafka]."
    assert problems(file) == (expected,)


def test_a_wrong_value_of_the_file_is_refused_with_the_file(config: WriteConfig) -> None:
    file = config("[log]\nlevel = 5")
    expected = (
        f"AURORA_BRIDGE_LOG__LEVEL (log.level in the file): invalid 5 (from {file}); expected one of debug, info, "
        "warning, error. Correct it, or leave it out for the default, info."
    )
    assert problems(file) == (expected,)


def test_true_is_no_number(config: WriteConfig) -> None:
    file = config("[ingress]\nport = true\nkeepalive_seconds = true\n[kafka]\nreplication_factor = true")
    assert [problem.split(";")[0] for problem in problems(file)] == [
        f"AURORA_BRIDGE_INGRESS__PORT (ingress.port in the file): invalid True (from {file})",
        f"AURORA_BRIDGE_INGRESS__KEEPALIVE_SECONDS (ingress.keepalive_seconds in the file): invalid True (from {file})",
        f"AURORA_BRIDGE_KAFKA__REPLICATION_FACTOR (kafka.replication_factor in the file): invalid True (from {file})",
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[ingress\n", "not TOML: Expected ']' at the end of a table declaration (at line 1, column 9)"),
        (b"tenant = '\xff'", "not UTF-8"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_the_line(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "bridge.toml"
    file.write_bytes(content)
    expected = (
        f"--config or AURORA_BRIDGE_CONFIG: cannot read '{file}' ({why}); expected the path of a TOML "
        "file. Fix the path or the file, or omit it and set everything in the environment."
    )
    assert problems(file) == (expected,)


def test_a_byte_order_mark_as_windows_writes_it_is_no_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    file.write_bytes(b"\xef\xbb\xbf[ingress]\r\nport = 1\r\n")
    assert load(file, {}).ingress.port == 1


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    (problem,) = problems(CONFIG=str(file))
    assert problem.startswith(f"--config or AURORA_BRIDGE_CONFIG: cannot read '{file}' (No such file or")


@pytest.mark.parametrize("value", ["[" * 10_000, "9" * 5000])
def test_a_value_that_the_parser_of_toml_cannot_take_is_refused(config: WriteConfig, value: str) -> None:
    (problem,) = problems(config(f"x = {value}"))
    assert "(not TOML: " in problem


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    assert "(Is a directory)" in problems(tmp_path)[0]


# What must hold between settings


@pytest.mark.parametrize(
    ("ingress", "admin"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("::1", "LOCALHOST"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("10.0.0.7", "::"),
    ],
)
def test_two_equal_ports_of_one_address_are_refused(ingress: str, admin: str) -> None:
    settings = {"INGRESS__HOST": ingress, "ADMIN__HOST": admin, "EMBEDDED": "true", "AUTH__ALLOW_ANONYMOUS": "true"}
    (problem,) = problems(**settings, INGRESS__PORT="9090")
    assert "AURORA_BRIDGE_ADMIN__PORT (admin.port in the file): both are 9090" in problem
    loaded(**settings, INGRESS__PORT="9091")
    loaded(**settings, INGRESS__PORT="0", ADMIN__PORT="0")


@pytest.mark.parametrize(("ingress", "admin"), [("127.0.0.1", "127.0.0.2"), ("0.0.0.0", "::1"), ("a", "localhost")])  # noqa: S104
def test_equal_ports_of_two_addresses_are_taken(ingress: str, admin: str) -> None:
    settings = {"INGRESS__HOST": ingress, "ADMIN__HOST": admin, "EMBEDDED": "true", "AUTH__ALLOW_ANONYMOUS": "true"}
    assert loaded(**settings, INGRESS__PORT="9090").admin.port == 9090


def tokens(folder: Path) -> str:
    file = folder / "tokens"
    file.write_text("token\n")
    return str(file)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"])
def test_without_credentials_the_daemon_serves_on_loopback(host: str) -> None:
    assert loaded(INGRESS__HOST=host).ingress.host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "bridge.example.com"])  # noqa: S104 - it is refused
def test_without_credentials_it_serves_nowhere_else(host: str) -> None:
    expected = (
        f"AURORA_BRIDGE_INGRESS__HOST (ingress.host in the file): '{host}' without credentials; they are "
        "required off loopback (127.0.0.1, ::1 or localhost). Write a token into a file, set "
        "AURORA_BRIDGE_AUTH__TOKENS_FILE (auth.tokens_file in the file) to its path and make Aurora send it in the "
        "header X-Aurora-Webhook-Token; or allow anonymous deliveries explicitly: "
        "AURORA_BRIDGE_AUTH__ALLOW_ANONYMOUS=true."
    )
    assert problems(INGRESS__HOST=host, EMBEDDED="true") == (expected,)


def test_with_a_token_it_serves_on_any_address(tmp_path: Path) -> None:
    loaded(INGRESS__HOST="::", AUTH__TOKENS_FILE=tokens(tmp_path), KAFKA__BOOTSTRAP_SERVERS="kafka:9092")


def test_anonymous_deliveries_can_be_allowed_in_so_many_words() -> None:
    loaded(INGRESS__HOST="::", AUTH__ALLOW_ANONYMOUS="true", KAFKA__BOOTSTRAP_SERVERS="kafka:9092")


def test_away_from_loopback_the_embedded_log_must_be_asked_for() -> None:
    expected = (
        "AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS (kafka.bootstrap_servers in the file): required off loopback "
        "(AURORA_BRIDGE_INGRESS__HOST=::) unless AURORA_BRIDGE_EMBEDDED=true. Set "
        "AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS (kafka.bootstrap_servers in the file) to your brokers, as in "
        "kafka-1:9092, or set AURORA_BRIDGE_EMBEDDED=true to keep the events in the daemon's own log."
    )
    assert problems(INGRESS__HOST="::", AUTH__ALLOW_ANONYMOUS="true") == (expected,)
    assert loaded(INGRESS__HOST="::", AUTH__ALLOW_ANONYMOUS="true", EMBEDDED="true").embedded_log


def test_the_embedded_log_and_kafka_exclude_each_other() -> None:
    expected = (
        "AURORA_BRIDGE_EMBEDDED (embedded in the file): true conflicts with AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS "
        "(kafka.bootstrap_servers in the file), 'kafka:9092'; expected one of the two. Unset EMBEDDED to publish to "
        "Kafka (the embedded log drains into it), or unset the brokers to keep events here."
    )
    assert problems(EMBEDDED="true", KAFKA__BOOTSTRAP_SERVERS="kafka:9092") == (expected,)


def test_with_kafka_configured_events_leave_the_embedded_log() -> None:
    assert not loaded(KAFKA__BOOTSTRAP_SERVERS="kafka:9092").embedded_log
    assert not loaded(KAFKA__BOOTSTRAP_SERVERS="kafka:9092", EMBEDDED="false").embedded_log


def test_without_kafka_the_embedded_log_cannot_be_refused() -> None:
    expected = (
        "AURORA_BRIDGE_EMBEDDED (embedded in the file): false requires Kafka, which is not "
        "configured. Set AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS (kafka.bootstrap_servers in the file) to your brokers, "
        "as in kafka-1:9092, or unset EMBEDDED."
    )
    assert problems(EMBEDDED="false") == (expected,)


def test_without_kafka_the_spool_cannot_be_switched_off() -> None:
    expected = (
        "AURORA_BRIDGE_SPOOL__ENABLED (spool.enabled in the file): false requires Kafka, which is not configured: "
        "the events would be stored nowhere. Set AURORA_BRIDGE_KAFKA__BOOTSTRAP_SERVERS "
        "(kafka.bootstrap_servers in the file) to your brokers, as in kafka-1:9092, or unset SPOOL__ENABLED."
    )
    assert problems(SPOOL__ENABLED="false") == (expected,)
    assert not loaded(SPOOL__ENABLED="false", KAFKA__BOOTSTRAP_SERVERS="kafka:9092").spool.enabled


@pytest.mark.parametrize(
    ("publish", "spool", "answer"), [("5", "5", "8"), ("6", "5", "8"), ("3", "9", "8"), ("1", "2", "2")]
)
def test_deadlines_out_of_order_are_refused(publish: str, spool: str, answer: str) -> None:
    (problem,) = problems(
        DEADLINES__PUBLISH_SECONDS=publish, DEADLINES__SPOOL_SECONDS=spool, DEADLINES__ANSWER_SECONDS=answer
    )
    expected = (
        "AURORA_BRIDGE_DEADLINES__PUBLISH_SECONDS (deadlines.publish_seconds in the file), "
        "AURORA_BRIDGE_DEADLINES__SPOOL_SECONDS (deadlines.spool_seconds in the file), "
        "AURORA_BRIDGE_DEADLINES__ANSWER_SECONDS (deadlines.answer_seconds in the file): "
        f"invalid {publish}, {spool} and {answer} s; expected each less than the next. Put them in that order, or omit "
        "all three for the defaults, 3, 5 and 8 s."
    )
    assert problem == expected


@pytest.mark.parametrize("codec", ["snappy", "lz4", "zstd"])
def test_a_codec_that_is_not_installed_is_refused_at_start(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    expected = (
        f"AURORA_BRIDGE_KAFKA__COMPRESSION (kafka.compression in the file): the codec of '{codec}' is not "
        f"installed; without it, expected one of none, gzip. Install it, pip install 'aiokafka[{codec}]', or choose "
        "one of the two."
    )
    assert problems(KAFKA__COMPRESSION=codec) == (expected,)


def test_a_codec_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {"cramjam": "found"}.get)
    assert loaded(KAFKA__COMPRESSION="zstd").kafka.compression == "zstd"


# For people to see


def test_the_redacted_settings_name_every_setting() -> None:
    shown = redacted(Settings())
    leaves = {
        f"{name}.{inner}" if isinstance(value, dict) else name
        for name, value in shown.items()
        for inner in (value if isinstance(value, dict) else [name])
    }
    assert leaves | {"events"} == {*SETTINGS, *FILE_ONLY}


def test_a_secret_among_the_settings_would_be_shown_as_asterisks() -> None:
    class WithSecret(Settings):
        password: SecretStr = SecretStr("canary")

    assert redacted(WithSecret())["password"] == "**********"  # noqa: S105 - no password


def test_defaults_written_to_a_file_are_the_defaults_again(config: WriteConfig) -> None:
    lines = [f"{key} = {_toml(value)}" for key, value in _leaves(redacted(Settings())).items() if value is not None]
    text = "\n".join(lines)
    assert tomllib.loads(text)
    state_dir = config("").parent / Settings().state_dir
    assert loaded(config(text)) == Settings(state_dir=state_dir)


def _leaves(shown: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in shown.items():
        flat |= {f"{name}.{inner}": leaf for inner, leaf in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
