"""How many bytes may wait."""

import pytest

from service.admission.pending_bytes import PendingBytes
from service.errors import QueueFullError


def test_requests_fit_as_long_as_there_is_room_beside_the_others() -> None:
    pending = PendingBytes(100)
    pending.check(100, own=0)
    pending.count = 60
    pending.check(40, own=0)
    with pytest.raises(QueueFullError, match="Too many bytes"):
        pending.check(41, own=0)
    pending.check(70, own=30)  # of the 60, half are its own


def test_request_without_bytes_always_fits() -> None:
    pending = PendingBytes(100)
    pending.count = 500
    pending.check(0, own=0)
