"""`aurora-bridge completion`: a script for each shell, from which it completes what the parser knows."""

import shutil
import subprocess
from typing import Final

import pytest

from tests.cli.in_process import here

_COMPLETE: Final = """
{script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_aurora_bridge
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def script(shell: str) -> str:
    """Return what the command prints, whatever is wrong with the settings."""
    ended = here("completion", shell, ingress__port="wrong")
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def completed(*words: str) -> set[str]:
    """Return what bash offers for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in ("aurora-bridge", *words))
    program = _COMPLETE.format(script=script("bash"), words=quoted)
    ended = subprocess.run(["bash", "-c", program], check=True, capture_output=True, text=True)
    return set(ended.stdout.split())


def test_bash_completes_commands_options_and_events() -> None:
    assert completed("t") == {"tail", "templates", "topics"}
    assert completed("quarantine", "") >= {"list", "show", "retry", "discard"}
    assert completed("quarantine", "discard", "--") >= {"--all", "--yes", "--config"}
    assert completed("tail", "--event", "lead_ch") == {"lead_changed"}
    assert completed("simulate", "trigger", "lead_ch") == {"lead_changed"}
    assert completed("subscriptions", "") >= {"export", "plan", "apply", "reenable"}
    assert completed("subscriptions", "apply", "--") >= {"--file", "--delete", "--resend-credentials", "--yes"}
    assert completed("subscriptions", "reenable", "lead_ch") == {"lead_changed"}
    assert completed("completion", "") >= {"bash", "zsh", "fish"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_it_can_read(shell: str) -> None:
    text = script(shell)
    for word in ("quarantine", "discard", "follow", "lead_changed", "completion"):
        assert word in text
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: only what it would read was looked at")
    subprocess.run([shell, "-n"], check=True, input=text, capture_output=True, text=True)


def test_another_shell_is_wrong_usage() -> None:
    ended = here("completion", "ksh")
    assert (ended.returncode, ended.stdout) == (2, "")
