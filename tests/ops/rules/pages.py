"""What stands in the pages of the runbooks: their commands, with what each is to show, and the same for Kubernetes.

There an alert concerns one pod, which it names, or all: then their logs are read together, and each is asked in turn.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

RUNBOOKS: Final = Path(__file__).parents[3] / "docs" / "runbooks"

ADMIN: Final = "http://127.0.0.1:9090"
STATE: Final = "/var/lib/aurora-bridge"
POD: Final = "aurora-bridge-0 -c aurora-bridge"
PODS: Final = "-l app.kubernetes.io/name=aurora-bridge,app.kubernetes.io/component=bridge"
"""The daemon's own pods: those of Jobs have the name as well."""
FORWARD: Final = "kubectl port-forward aurora-bridge-0 9090 > /dev/null & sleep 2"
END: Final = "kill $!"
"""Ends the forwarding: another one could not listen, and what is asked next would be the pod of before."""
EACH: Final = [
    f"for pod in $(kubectl get pods {PODS} -o name); do",
    '  echo "$pod"; kubectl port-forward "$pod" 9090 > /dev/null & sleep 2',
]
EACH_END: Final = ["  kill $!; wait $!", "done"]


class Command(NamedTuple):
    """A command on a host, and the comment above it: what in quotes it shows in the state that the page is about."""

    line: str
    comment: str

    @property
    def shows(self) -> list[str]:
        """What is to be in its output."""
        return re.findall(r'"([^"]+)"', self.comment)

    @property
    def exit_codes(self) -> set[int]:
        """How it may end: with 0, and as the comment says."""
        return {0, *(int(code) for code in re.findall(r"exit code (\d+)", self.comment))}

    def on_kubernetes(self, logs_of: str) -> str:
        """The same in a pod; `logs_of` chooses whose logs."""
        line = re.sub(r"journalctl -u aurora-bridge -o cat -n (\d+)", rf"kubectl logs {logs_of} --tail=\1", self.line)
        line = line.replace("journalctl -u aurora-bridge -o cat", f"kubectl logs {logs_of} --tail=-1")
        line = re.sub(r"^(aurora-bridge|df|du|cat) ", rf"kubectl exec {POD} -- \1 ", line)
        return line.replace(
            "systemctl status aurora-bridge --no-pager", "kubectl get pods -l app.kubernetes.io/name=aurora-bridge"
        )


def in_the_pod(given: list[Command]) -> list[str]:
    """Return the lines of a block for Kubernetes, for the one pod that the alert names."""
    lines = [command.on_kubernetes(POD) for command in given]
    return [FORWARD, *lines, END] if any("curl" in line for line in lines) else lines


def in_all_pods(given: list[Command]) -> list[str]:
    """Return them for all pods. What is the same in all of them is asked once, and first."""
    lines = [command.on_kubernetes(f"{PODS} -c aurora-bridge --prefix") for command in given]
    once, each = [[line for line in lines if ("curl" in line) is asked] for asked in (False, True)]
    return [*once, *EACH, *(f"  {line}" for line in each), *EACH_END] if each else once


def blocks(page: str) -> list[list[str]]:
    """Return the lines of each block of commands in a page."""
    text = (RUNBOOKS / f"{page}.md").read_text()
    return [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def commands(lines: list[str]) -> list[Command]:
    """Return the commands of a block."""
    found, comment = [], ""
    for line in lines:
        if line.startswith("# "):
            comment = line.removeprefix("# ")
        else:
            found.append(Command(line, comment))
            comment = ""
    return found
