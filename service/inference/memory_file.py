"""Bytes that processes share by a descriptor and cannot change."""

import fcntl
import os
import sys
import tempfile
from typing import Self


class SealedFile:
    """Bytes in memory behind a descriptor, which is closed with the object."""

    def __init__(self, descriptor: int) -> None:
        """Takes over a descriptor of another `SealedFile`, as received from its process."""
        self._descriptor = descriptor

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Copies bytes into a new file.

        Raises:
            OSError: there are too many open files, or too little memory.
        """
        if sys.platform != "linux":
            with tempfile.TemporaryFile() as file:
                file.write(data)
                file.flush()
                return cls(os.dup(file.fileno()))
        file = cls(os.memfd_create("model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
        written = 0
        while written < len(data):
            written += os.write(file.fileno(), data[written:])
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file.fileno(), fcntl.F_ADD_SEALS, seals)
        return file

    def close(self) -> None:
        """Closes the descriptor, if it is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close

    def fileno(self) -> int:
        """The descriptor; it stays this object's own."""
        return self._descriptor

    @property
    def size(self) -> int:
        """Number of bytes."""
        return os.fstat(self._descriptor).st_size

    def read(self) -> bytes:
        """All bytes."""
        size, parts = self.size, []
        read = 0
        while read < size:
            parts.append(os.pread(self._descriptor, size - read, read))
            read += len(parts[-1])
        return b"".join(parts)
