"""What an event carries stays in the event: operators see none of it, on the admin port or in the log."""

from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests.e2e.stores import Place
from tests.support import http
from tests.support.daemon import Daemon

TOKEN: Final = [("X-Aurora-Webhook-Token", "good-token")]
CONTENT: Final = "content4711"
"""Stands in every attribute: in the name where nobody knows it, in the value where somebody does."""
ACCEPTED: Final = (
    f"/lead_changed?lead_id={CONTENT}-{{0}}",
    f"/agreement_status_changed?agreement_id={CONTENT}-{{0}}&project_id={CONTENT}&status={CONTENT}&{CONTENT}={CONTENT}",
    f"/lead_changed?lead_id={CONTENT}-{{0}}&amp;{CONTENT}={CONTENT}&{CONTENT}[]={CONTENT}",
    f"/roof_painted?roof_id={CONTENT}-{{0}}&{CONTENT}={CONTENT}",
    f"/agreement_status_changed?agreement_id={CONTENT}-{{0}}&status=%3C{CONTENT}%3E",
    f"/project_status_changed?project_id={CONTENT}-{{0}}&status=%ff",
    f"/project_status_changed?project_id={CONTENT}-{{0}}&status={CONTENT}%00",
    f"/project_status_changed?project_id={CONTENT}-{{0}}&project_id={CONTENT}",
    f"/lead_changed?lead_id={CONTENT}-{{0}}&aurora_event=lead_created",
    f"/lead_changed?{CONTENT}={CONTENT}-{{0}}",
)
"""Events known and unknown, with a value that is unknown, and every kind of dead letter."""
REFUSED: Final = (f"/no/route?lead_id={CONTENT}", f"/lead_changed?lead_id={CONTENT}{'x' * 17_000}")


@pytest.mark.proves("Admin port and control socket: it shows no content of an event")
def test_no_content_of_an_event_is_on_the_admin_port_or_in_the_log(place: Place, tmp_path: Path) -> None:
    tokens, run = tmp_path / "tokens", str(uuid4())
    tokens.write_text("good-token\n")
    settings = {"auth__tokens_file": tokens, "log__level": "debug", "ingress__log_deliveries": True}
    with place.daemon(tmp_path, **settings) as daemon:
        place.settle(daemon)
        for target in ACCEPTED:
            for _ in range(2):  # the second time it is a duplicate, or a dead letter more
                assert daemon.get(target.format(run), TOKEN).status == 200
            assert daemon.get(target.format(run)).status == 401
        assert {daemon.get(target, TOKEN).status for target in REFUSED} == {404, 414}
        shown = seen_by_operators(daemon)
        kept = b"".join(stored.value for stored in place.read(daemon)).decode()
        assert daemon.terminate() == 0
    for known in ("lead_changed", "dead_letter", "unfilled_placeholder"):
        assert known in shown["/"]
        assert known in shown["/metrics"]
    shown["the log"] = daemon.log.read_text()
    assert "duplicate" in shown["the log"]
    assert {where for where, text in shown.items() if CONTENT in text.lower() or run in text} == set()
    assert kept.count(run) > len(ACCEPTED)


def seen_by_operators(daemon: Daemon) -> dict[str, str]:
    """Return everything that the admin port shows, by path."""
    paths = ("/", "/?still", "/readyz", "/livez", "/metrics")
    return {path: http.get(daemon.admin_url, path).body.decode() for path in paths}
