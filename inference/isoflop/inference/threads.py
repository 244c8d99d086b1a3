"""BLAS on one thread while a fit searches: its matrices are so small that more threads only wait.

Where other work takes the cores they wait spinning: approach 3 on 20 runs took 40 times as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A context, or a decorator, in which BLAS uses one thread in the whole process."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield
