"""Sends what was recorded as malformed to an ingress, and compares what each connection is told."""

from collections.abc import Iterable
from contextlib import ExitStack, suppress

from tests.samples.load import Malformed
from tests.support.http import Connection


def replay(url: str, cases: Iterable[Malformed]) -> list[str]:
    """Send each case on a connection of its own; return what is not as it was recorded.

    One that is to stay is looked at once more when all others are done: by then a second answer would be there.
    """
    wrong, stayed = [], []
    with ExitStack() as stack:
        for case in cases:
            connection = stack.enter_context(Connection(url))
            with suppress(ConnectionError):  # a refusal may come, and the end, before everything is sent
                connection.send(case.data)
            found = []
            with suppress(ConnectionError, TimeoutError):
                found = [connection.receive(to=case.method).status for _ in case.statuses]
            if found != case.statuses:
                wrong.append(f"{case} was answered {found} and not {case.statuses}")
            elif not case.ended:
                stayed.append((case, connection))
            elif not connection.ended():
                wrong.append(f"{case}: its connection says more")
        wrong += [
            f"{case}: its connection ended, or said more" for case, connection in stayed if not connection.silent()
        ]
    return wrong
