"""A fit keeps BLAS to one thread, and gives the threads back."""

from threadpoolctl import threadpool_info, threadpool_limits

from isoflop.inference.threads import one_blas_thread


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_in_a_fit_and_its_own_number_after_it() -> None:
    @one_blas_thread()
    def inside() -> set[int]:
        return blas_threads()

    with threadpool_limits(limits=2, user_api="blas"):
        assert inside() == {1}
        assert blas_threads() == {2}
