"""Calls of real tools: a mark for each, on disk before it is made, and its result, so that none is ever made twice."""

from dataclasses import dataclass

from gainloop.store.files import create_file, exists, read_file, write_file


@dataclass(frozen=True, slots=True)
class CallMarks:
    """The marks of a batch's calls, in a folder beside its replies: a file each, empty until the result is there.

    A call whose mark has no result was under way when its run ended: nobody can tell whether it had its effect, so it
    is not made again. Of two runs that begin the same call at once, on a disk one makes it; elsewhere both may.
    """

    folder: str

    def find(self, request_id: str) -> str | None:
        """Return the result of a call, nothing if it was begun and has none, and None if it was never begun.

        Raises:
            StoreError: The folder cannot be read.
        """
        url = self._url(request_id)
        return read_file(url).decode() if exists(url) else None

    def begin(self, request_id: str) -> str | None:
        """Return None once the mark of a new call is on disk; of one that was begun before its result, or nothing.

        Raises:
            StoreError: The folder cannot be written.
        """
        url = self._url(request_id)
        return None if create_file(url) else read_file(url).decode()

    def finish(self, request_id: str, result: str) -> None:
        """Write the result of a call down.

        Raises:
            StoreError: The folder cannot be written.
        """
        write_file(self._url(request_id), result.encode())

    def _url(self, request_id: str) -> str:
        return f"{self.folder}/{request_id}.call"
