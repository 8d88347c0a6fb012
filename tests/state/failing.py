"""A SQLite connection whose disk fails when a test says so."""

import sqlite3
from typing import Any

import pytest


class FailingConnection(sqlite3.Connection):
    """Raises an error of SQLite's instead of running statements that begin with `fails_on`."""

    fails_on: str | None = None
    code = sqlite3.SQLITE_IOERR_FSYNC
    texts: list[str]

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - sqlite3's own
        super().__init__(*args, **options)
        self.texts = []

    @property
    def statements(self) -> list[str]:
        """The first words of what was executed."""
        return [text.split()[0] for text in self.texts]

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:  # noqa: ANN401 - sqlite3's own
        self.texts.append(sql)
        if self.fails_on is not None and sql.startswith(self.fails_on):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, parameters)


def connect_failing(patch: pytest.MonkeyPatch) -> list[FailingConnection]:
    """Have every new connection be one that can fail; return those made, in order."""
    made: list[FailingConnection] = []
    connect = sqlite3.connect

    def failing(*args: Any, **options: Any) -> FailingConnection:  # noqa: ANN401 - sqlite3's own
        made.append(connect(*args, factory=FailingConnection, **options))
        return made[-1]

    patch.setattr(sqlite3, "connect", failing)
    return made
