"""Worker processes of simulation and training: how many, and how they end."""

import multiprocessing
import os
import threading


def cores() -> int:
    """CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def end_with_parent() -> None:
    """End this worker when its parent is killed; a process pool alone would leave it waiting."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
