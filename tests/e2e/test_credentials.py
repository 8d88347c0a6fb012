"""Who may deliver: tokens in a file, nobody in particular on loopback, and nobody unasked anywhere else."""

from base64 import b64encode
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests.e2e.stores import Place
from tests.support import http
from tests.support.daemon import Daemon, command
from tests.support.http import Headers

HEADER: Final = "X-Aurora-Webhook-Token"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - what the daemon is to refuse, or was allowed to


def basic(pair: str) -> Headers:
    return [("Authorization", f"Basic {b64encode(pair.encode()).decode()}")]


def target() -> str:
    """Return a target that nobody used before."""
    return f"/project_created?project_id={uuid4()}&source=app"


def test_every_token_of_the_file_is_valid_so_that_a_rotation_refuses_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("new-one\n\n  old-one  \n")
    with Daemon(tmp_path, auth__tokens_file=tokens) as daemon:
        given = ["new-one", "old-one", "no-one", "new-one\told-one"]
        assert [daemon.get(target(), [(HEADER, token)]).status for token in given] == [200, 200, 401, 401]


def test_what_secret_files_say_to_people_and_how_clients_write_umlauts(tmp_path: Path) -> None:
    tokens, pairs = tmp_path / "tokens", tmp_path / "pairs"
    comment = "# old token, remove in May"
    tokens.write_text(f"{comment}\nnew-one\n")
    pairs.write_text("# those of the office\nbüro:schlüssel\n", encoding="utf-8-sig")
    with Daemon(tmp_path, auth__tokens_file=tokens, auth__basic_file=pairs) as daemon:
        given = [[(HEADER, token)] for token in ("new-one", comment)]
        given += [
            [("Authorization", f"Basic {b64encode('büro:schlüssel'.encode(encoding)).decode()}")]
            for encoding in ("utf-8", "iso-8859-1", "utf-16")
        ]
        assert [daemon.get(target(), headers).status for headers in given] == [200, 401, 200, 200, 401]


def test_one_valid_header_among_several_is_enough(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("new-one\n")
    with Daemon(tmp_path, auth__tokens_file=tokens) as daemon:
        assert daemon.get(target(), [(HEADER, "no-one"), (HEADER, "new-one")]).status == 200


def test_the_header_of_the_token_can_be_another(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("new-one\n")
    with Daemon(tmp_path, auth__tokens_file=tokens, auth__header="X-Other") as daemon:
        assert [daemon.get(target(), [(header, "new-one")]).status for header in ("X-Other", HEADER)] == [200, 401]


def test_without_credentials_loopback_is_served(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        assert daemon.get(target()).status == 200


@pytest.mark.proves("An attacker cannot: deliver through somebody's browser")
def test_without_credentials_no_page_of_another_site_delivers_through_its_readers_browser(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        response = daemon.get(target(), [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")])
        assert (response.status, response.json["reason"]) == (403, "cross_site")
        assert daemon.get(target(), [("Sec-Fetch-Site", "none")]).status == 200
        assert daemon.metrics().value("aurora_bridge_refusals_total", reason="cross_site") == 1


@pytest.mark.proves("An attacker can: Forge events")
def test_a_proxy_before_a_daemon_without_credentials_is_told_at_start_and_on_the_status_page(tmp_path: Path) -> None:
    with Daemon(tmp_path, ingress__public_url="https://hooks.example.com") as daemon:
        said = "Anyone who reaches the proxy in front can forge events"
        assert said in http.get(daemon.admin_url, "/").body.decode()
        assert sum(said in line["message"] for line in daemon.log_lines()) == 1


@pytest.mark.proves("An attacker cannot: reach a daemon that was left without credentials")
def test_without_credentials_the_daemon_does_not_start_anywhere_else_and_says_what_to_do(tmp_path: Path) -> None:
    ended = command("serve", cwd=tmp_path, ingress__host=EVERYWHERE, ingress__port=0, admin__port=0, embedded=True)
    assert (ended.returncode, ended.stdout) == (78, "")
    for words in (EVERYWHERE, "AURORA_BRIDGE_AUTH__TOKENS_FILE", "AURORA_BRIDGE_AUTH__ALLOW_ANONYMOUS=true"):
        assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_anonymous_deliveries_are_taken_elsewhere_if_allowed_in_so_many_words(tmp_path: Path) -> None:
    anonymous = Daemon(tmp_path, ingress__host=EVERYWHERE, auth__allow_anonymous=True, embedded=True)
    with anonymous as daemon:
        assert daemon.get(target()).status == 200


@pytest.mark.proves("An attacker cannot: reach a daemon that was left without credentials")
def test_a_file_without_a_token_does_not_let_everybody_in(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("\n \n")
    ended = command("serve", cwd=tmp_path, ingress__port=0, admin__port=0, auth__tokens_file=tokens)
    assert ended.returncode in {1, 78}
    assert str(tokens) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_log_names_the_route_that_a_refused_delivery_came_by(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("new-one\n")
    tokens.chmod(0o600)
    with Daemon(tmp_path, auth__tokens_file=tokens) as daemon:
        assert daemon.get(target(), [(HEADER, "no-one")]).status == 401
        assert daemon.get("/no/route").status == 404
        daemon.terminate()
        refused = [line for line in daemon.log_lines() if line.get("outcome") == "refused"]
    assert [(line["reason"], line.get("route")) for line in refused] == [
        ("unauthorized", "default"),
        ("no_route", None),
    ]


@pytest.mark.proves("An attacker cannot: have an event kept without a valid credential")
def test_nothing_is_kept_without_a_valid_credential(place: Place, tmp_path: Path) -> None:
    """Neither an event nor a dead letter, whatever was wrong, before or behind deliveries that are let in."""
    tokens, pairs, mark = tmp_path / "tokens", tmp_path / "pairs", str(uuid4())
    tokens.write_text("new-one\n")
    pairs.write_text("user:word\n")
    good = [[(HEADER, "new-one")], basic("user:word")]
    bad = [[], [(HEADER, "")], [(HEADER, "no-one")], [(HEADER, "user:word")], basic("user:no"), basic("new-one")]
    targets = [
        f"/project_created?project_id={mark}-{{}}&source=app",
        f"/project_created?project_id={mark}-{{}}&source=%ff",
        f"/roof_painted?roof_id={mark}-{{}}",
    ]
    settings = {"auth__tokens_file": tokens, "auth__basic_file": pairs, "auth__query_parameter": "key"}
    with place.daemon(tmp_path, **settings) as daemon:
        place.settle(daemon)
        let_in = []
        for number, headers in enumerate([*bad, *good, *bad]):
            for text in targets:
                answer = daemon.get(f"{text.format(number)}&key=new-two", headers)
                assert answer.status == (200 if headers in good else 401)
                let_in += [answer.json["id"]] * (headers in good)
        kept = [stored for stored in place.read(daemon) if mark.encode() in stored.value]
        assert daemon.metrics().value("aurora_bridge_refusals_total", reason="unauthorized") == 2 * len(bad) * 3
    assert sorted(stored.key for stored in kept) == sorted(let_in)
    assert {stored.topic for stored in kept} == {"project_created", "dead_letter", "unrecognized"}
