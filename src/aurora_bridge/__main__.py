"""The program, as `aurora-bridge` and as `python -m aurora_bridge`. The command line is in `cli`."""

import os
import signal
import sys


def main() -> int:
    """Run the command line; return its exit code."""
    _fill_standard_streams()
    if "serve" in sys.argv[1:]:  # SIGHUP would end the process while the modules load; `daemon` takes it over
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        from aurora_bridge import cli  # noqa: PLC0415 - takes most of the time of a start

        return cli.main()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _fill_standard_streams() -> None:
    """Let no file that is opened later take the place of a closed standard stream: libuv aborts when it closes one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


if __name__ == "__main__":
    sys.exit(main())
