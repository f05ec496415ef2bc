"""Threads that read the model repository, which hangs where a network drive does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from service.errors import NotReadyError

# Reads at a time in one process; others wait.
THREADS = 4
# How long it may take to list the repository, in seconds.
LIST_S = 10

Result = TypeVar("Result")


class RepositoryThreads:
    """A few threads for this alone, so that a repository that hangs delays no other work."""

    def __init__(self) -> None:
        """Starts no thread before the first read."""
        self._threads = ThreadPoolExecutor(THREADS, "repository")
        self._reads: set[Future[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether something is being read; a normal exit of the process would wait for it."""
        return bool(self._reads)

    async def run(self, read: Callable[[], Result], timeout_s: float | None = None) -> Result:
        """Reads beside the event loop; returns and raises what `read` does.

        Raises:
            NotReadyError: that takes longer than `timeout_s`; a thread may be busy with it still.
        """
        future = self._threads.submit(read)
        self._reads.add(future)
        future.add_done_callback(self._reads.discard)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise NotReadyError(
                "The model repository does not answer: see whether its volume does, and try again."
            ) from error
