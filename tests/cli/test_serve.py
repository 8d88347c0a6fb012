"""`aurora-bridge serve`: what it tells a user to try first is what works."""

import subprocess
from pathlib import Path
from threading import Timer

import pytest

from tests.support.daemon import PROGRAM, SECONDS, environment


def started(folder: Path, config: str) -> str:
    """Return what a daemon with this settings file says on standard output until its stop."""
    file = folder / "bridge.toml"
    file.write_text(config)
    settings = environment(state_dir=folder / "state", ingress__port=0, admin__port=0)
    with subprocess.Popen(
        [PROGRAM, "serve", "--config", file], env=settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        watchdog = Timer(SECONDS, process.kill)
        watchdog.start()
        assert process.stdout is not None
        said = process.stdout.readline()
        process.terminate()
        said += process.stdout.read()
    watchdog.cancel()
    assert process.returncode == 0
    return said


@pytest.mark.parametrize(
    ("config", "tried"),
    [
        ("", True),
        ('[auth]\nbasic_file = "secret"', False),
        ('[auth]\ntokens_file = "secret"', False),
        ('default_route = false\n[[routes]]\ntemplate = "/in?a=<A>"\nevent = "lead_changed"', False),
        ('[ingress]\nproxy_protocol = true\ntrusted_proxies = ["127.0.0.1"]', False),
    ],
    ids=["anyone", "basic", "tokens", "no default route", "PROXY protocol"],
)
def test_a_webhook_to_try_is_shown_where_it_would_be_taken(tmp_path: Path, config: str, *, tried: bool) -> None:
    (tmp_path / "secret").write_text("user:password\n")
    said = started(tmp_path, config)
    assert said.startswith("webhooks  http://")
    assert ("curl" in said) is tried
