"""The state directory: `directory` locks it, `database` opens SQLite files in it, `worker` runs a file's thread."""
