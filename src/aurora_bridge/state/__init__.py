"""The state directory: `directory` guards it, `database` opens a SQLite file of it, `worker` is a file's thread."""
