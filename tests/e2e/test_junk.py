"""Values that say nothing and names that were garbled, sent to a daemon: no real event is swallowed by them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.stores import spooled
from tests.ops.rules.faulty import make_faulty
from tests.support import http
from tests.support.daemon import Daemon, command
from tests.support.html import Page

DEAD: Final = "unfilled_placeholder"
DUPLICATE: Final = "duplicate"
STORED: Final = "spooled"

SENT: Final = {  # two targets, what becomes of each, and attributes of the last event
    "in curly brackets": (["/lead_created?lead_id={lead_id}"] * 2, [DEAD, DEAD], {}),
    "in double ones": (["/lead_created?lead_id=%7B%7BLEAD_ID%7D%7D"] * 2, [DEAD, DEAD], {}),
    "behind a dollar": (["/lead_created?lead_id=$LEAD_ID"] * 2, [DEAD, DEAD], {}),
    "bare": (["/lead_created?lead_id=LEAD_ID"] * 2, [DEAD, DEAD], {}),
    "with a blank, and padded": (
        ["/lead_created?lead_id=%3CLEAD%20ID%3E", "/lead_created?lead_id=%20%3CLEAD_ID%3E"],
        [DEAD, DEAD],
        {},
    ),
    "in another language, of another event": (
        ["/agreement_status_changed?project_id=p-77&agreement_id={{AGREEMENT_ID}}&status=signed"] * 2,
        [DEAD, DEAD],
        {},
    ),
    "null": (["/lead_created?lead_id=null&source=api"] * 2, [STORED, STORED], {"lead_id": None, "source": "api"}),
    "None": (
        ["/performance_simulation_job_completed?design_id=d-1&job_id=None&status=succeeded"] * 2,
        [STORED, STORED],
        {"design_id": "d-1", "job_id": None, "status": "succeeded"},
    ),
    "undefined": (
        ["/asset_created?design_id=d-1&asset_id=undefined&asset_type=Design%20DXF"] * 2,
        [STORED, STORED],
        {"design_id": "d-1", "asset_id": None, "asset_type": "Design DXF"},
    ),
    "white space": (
        ["/lead_created?lead_id=%20&source=api", "/lead_created?lead_id=%C2%A0&source=api"],
        [STORED, STORED],
        {"lead_id": None, "source": "api"},
    ),
    "a status that is a word for nothing": (
        ["/project_status_changed?project_id=p-9&status=None"] * 2,
        [STORED, DUPLICATE],
        {"project_id": "p-9", "status": "None"},
    ),
    "a status in brackets": (
        ["/project_status_changed?project_id=p-10&status=%5BSold%5D"] * 2,
        [STORED, DUPLICATE],
        {"project_id": "p-10", "status": "[Sold]"},
    ),
    "a status that ends in a secret's name": (
        [
            "/project_status_changed?project_id=p1&status=Sold%3Bpassword",
            "/project_status_changed?project_id=p1&status=Sold",
        ],
        [STORED, STORED],
        {"project_id": "p1", "status": "Sold"},
    ),
    "ampersands as HTML writes them": (
        [
            "/agreement_status_changed?project_id=p1&amp;agreement_id=a1&amp;status=signed",
            "/agreement_status_changed?project_id=p1&agreement_id=a1&status=signed",
        ],
        [STORED, DUPLICATE],
        {"project_id": "p1", "agreement_id": "a1", "status": "signed"},
    ),
    "a list, as a framework writes one": (
        ["/project_status_changed?project_id=p2&status[]=Sold", "/project_status_changed?project_id=p2&status=Sold"],
        [STORED, DUPLICATE],
        {"project_id": "p2", "status": "Sold"},
    ),
    "a parameter that always changes": (
        [
            f"/performance_simulation_job_completed?design_id=d&job_id=j&status=succeeded&_={number}&_ga={number}"
            for number in (1, 2)
        ],
        [STORED, DUPLICATE],
        {"design_id": "d", "job_id": "j", "status": "succeeded", "_": "1", "_ga": "1"},
    ),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("junk"), index__volatile_attributes="_,_ga") as daemon:
        yield daemon


@pytest.mark.parametrize("what", SENT)
def test_no_event_is_swallowed_by_what_says_nothing(daemon: Daemon, what: str) -> None:
    targets, expected, attributes = SENT[what]
    answers: list[Any] = [daemon.get(target).json for target in targets]
    assert expected == [answer.get("reason") or answer["outcome"] for answer in answers]
    assert len({answer["id"] for answer in answers}) == 2 - expected.count(DUPLICATE)
    if attributes:
        assert spooled(daemon.state)[-1].event["data"] == attributes


def test_both_are_counted_by_event(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        for lead in ("null", "nil", "{id}"):
            daemon.get(f"/lead_created?lead_id={lead}")
        daemon.get("/roof_painted?roof_id=$ROOF")
        daemon.get("/lead_changed?amp;lead_id=1")
        metrics = daemon.metrics()
    junk = "aurora_bridge_junk_values_total"
    assert metrics.value(junk, event="lead_created", kind="nothing") == 2
    assert metrics.value(junk, event="lead_created", kind="placeholder") == 1
    assert metrics.value(junk, event="unrecognized", kind="placeholder") == 1
    assert metrics.value("aurora_bridge_garbled_templates_total", event="lead_changed") == 1
    assert metrics.value("aurora_bridge_garbled_templates_total") == 1


def test_a_garbled_template_is_named_on_the_status_page_and_once_in_the_log(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        for number in range(3):
            daemon.get(f"/lead_created?lead_id={number}&amp;source=api&amp;token=canary&x;token=canary=1&y[]=1")
        page = Page(http.get(daemon.admin_url, "/").body.decode())
        daemon.terminate()
    said = " ".join(page.texts)
    assert "A URL template in Aurora is garbled: that of lead_created" in said
    assert "amp;source amp;token (another)" in said
    assert said.count("https://HOST/lead_created?lead_id=<LEAD_ID>") == 2
    (line,) = [line for line in daemon.log_lines() if "garbled" in line["message"]]
    assert (line["event"], line["names"][0]) == ("lead_created", "amp;source")
    assert "canary" not in said + daemon.log.read_text()


def test_a_duplicate_at_a_time_at_which_aurora_does_not_retry_is_logged_with_the_event_it_was_taken_for(
    tmp_path: Path,
) -> None:
    daemon = Daemon(tmp_path)
    make_faulty(daemon, "no-retries")
    with daemon:
        first, second = (daemon.get("/lead_created?lead_id=x1").json for _ in range(2))
        assert daemon.metrics().value("aurora_bridge_duplicates_total", event="lead_created", interval="none") == 1
        daemon.terminate()
    (line,) = [line for line in daemon.log_lines() if "does not retry" in line["message"]]
    assert (line["event"], line["id"]) == ("lead_created", first["id"])
    assert (second["outcome"], second["id"]) == (DUPLICATE, first["id"])


def test_two_routes_that_a_slash_at_the_end_makes_one_are_a_conflict_at_start(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(
        '[[routes]]\ntemplate = "/a/<PROJECT_ID>"\nevent = "project_created"\n'
        '[[routes]]\ntemplate = "/a?p=<PROJECT_ID>"\nevent = "project_deleted"\n'
    )
    found = command("config", cwd=tmp_path, config=tmp_path / "settings.toml")
    assert found.returncode == 78
    assert "could both match one request" in found.stderr
