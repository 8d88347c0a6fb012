"""The program, as `aurora-bridge` and as `python -m aurora_bridge`. The command line is in `cli`."""

import signal
import sys


def main() -> int:
    """Run the command line; return its exit code."""
    if "serve" in sys.argv[1:]:  # SIGHUP would end the process while the modules load; `daemon` takes it over
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        from aurora_bridge import cli  # noqa: PLC0415 - takes most of the time of a start

        return cli.main()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
