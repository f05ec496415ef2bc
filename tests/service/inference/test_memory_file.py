"""Bytes behind a descriptor."""

import os

import pytest

from service.inference.memory_file import SealedFile


def test_another_descriptor_reads_the_same_bytes() -> None:
    data = os.urandom(100_000)
    file = SealedFile.of(data)
    copy = SealedFile(os.dup(file.fileno()))
    del file
    assert copy.read() == data
    assert copy.read() == data


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="has no seals")
def test_nobody_can_change_the_bytes() -> None:
    file = SealedFile.of(b"model")
    with pytest.raises(PermissionError):
        os.pwrite(file.fileno(), b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(file.fileno(), 0)


def test_descriptor_is_closed_with_its_object() -> None:
    file = SealedFile.of(b"")
    descriptor = file.fileno()
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
