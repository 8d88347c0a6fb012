"""What stands in the pages of the runbooks: their commands, with what each is to show, and the same for Kubernetes."""

import re
from pathlib import Path
from typing import Final, NamedTuple

RUNBOOKS: Final = Path(__file__).parents[3] / "docs" / "runbooks"

ADMIN: Final = "http://127.0.0.1:9090"
STATE: Final = "/var/lib/aurora-bridge"
POD: Final = "aurora-bridge-0 -c aurora-bridge"
FORWARD: Final = "kubectl port-forward aurora-bridge-0 9090 > /dev/null & sleep 2"


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

    @property
    def on_kubernetes(self) -> str:
        """The same in a pod."""
        line = re.sub(r"journalctl -u aurora-bridge -o cat -n (\d+)", rf"kubectl logs {POD} --tail=\1", self.line)
        line = re.sub(r"^(aurora-bridge|df|du|cat) ", rf"kubectl exec {POD} -- \1 ", line)
        return line.replace(
            "systemctl status aurora-bridge --no-pager", "kubectl get pods -l app.kubernetes.io/name=aurora-bridge"
        )


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
