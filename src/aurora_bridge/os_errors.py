"""Messages for errors of the operating system: what is wrong, with which file, for which user."""

import os
import pwd

_LONGEST_SHOWN = 200


def user() -> str:
    """Return the name of this process's user, or its number if the system has no name for it."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"{uid}"


def reason(error: OSError) -> str:
    """Return what is wrong and, for a lack of permission, the user: `Permission denied for the user nobody`."""
    words = error.strerror or type(error).__name__
    return f"{words} for the user {user()}" if isinstance(error, PermissionError) else words


def explain(error: OSError) -> str:
    """Return a complete message for an error that has no more specific one."""
    names = [str(name)[:_LONGEST_SHOWN] for name in (error.filename, error.filename2) if name is not None]
    where = f"{' to '.join(names)}: " if names else ""
    words = error.strerror or str(error) or type(error).__name__
    remedy = " Run this as the daemon's user, or give this one access." if isinstance(error, PermissionError) else ""
    return f"{where}{words} (as the user {user()}).{remedy}"
