"""The system's lock on an open file or folder, which ends with the process however that ends."""

import sys


def lock(handle: int) -> bool:
    """Lock what is open until it is closed; False where there are no locks.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    if sys.platform == "win32":
        return False
    import fcntl  # noqa: PLC0415 - not everywhere

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True
