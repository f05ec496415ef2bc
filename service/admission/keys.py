"""API keys and what each may do. Keys are kept and compared as digests, never as text."""

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import SecretStr

from service.admission.rate_limit import RateLimit
from service.api_keys import read_keys
from service.errors import ForbiddenError, UnauthorizedError
from service.settings import Settings

# How old the content of a file of keys may be, in seconds.
FRESH_S = 1.0
# How long a request, and with it the event loop, waits for that content where a volume hangs.
PATIENCE_S = 0.05

logger = logging.getLogger(__name__)


class Keys:
    """A set of keys, some of them in a file that is read again while it is in use."""

    def __init__(
        self,
        given: Iterable[SecretStr],
        file: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the file for the first time.

        Args:
            given: keys that last as long as the process.
            file: more keys, one a line.
            clock: tells the time in seconds.
        """
        self._given = [_digest(key.get_secret_value()) for key in given]
        self._file = file
        self._in_file: list[bytes] = []
        self._clock = clock
        self._read_at = clock()
        self._reader = threading.Thread()
        if file is not None:
            self._read(file)

    @property
    def configured(self) -> bool:
        """Whether there are keys or a file of keys; an empty file admits nobody."""
        return bool(self._given) or self._file is not None

    def find(self, key: str) -> bytes | None:
        """The digest of a key if it is one of these; comparing takes constant time."""
        self._refresh()
        sent = _digest(key)
        found = [hmac.compare_digest(sent, known) for known in self._given + self._in_file]
        return sent if any(found) else None

    def _refresh(self) -> None:
        """Reads the file again if it is time to, in a thread that is left alone if it hangs."""
        now = self._clock()
        if self._file is None or now - self._read_at < FRESH_S or self._reader.is_alive():
            return
        self._read_at = now
        self._reader = threading.Thread(target=self._read, args=[self._file], daemon=True)
        self._reader.start()
        self._reader.join(PATIENCE_S)
        if self._reader.is_alive():
            logger.warning(
                "keys", extra={"fields": {"reason": f"{self._file} does not answer yet"}}
            )

    def _read(self, file: Path) -> None:
        try:
            self._in_file = [_digest(key.get_secret_value()) for key in read_keys(file)]
        except ValueError as error:  # the last ones that could be read still hold
            logger.warning("keys", extra={"fields": {"reason": str(error)}})


class Authenticator:
    """Checks the key of a request, by its headers or metadata with names in lower case.

    Raises:
        UnauthorizedError: the key is missing or unknown.
    """

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        """Reads the keys; a rate limit counts in `folder`, which all processes share."""
        self._api = Keys(settings.api_keys, settings.api_keys_file)
        self._admin = Keys(settings.admin_keys, settings.admin_keys_file)
        self._rate: RateLimit | None = None
        if settings.rate_limit:
            assert folder is not None, "a rate limit needs a folder"
            self._rate = RateLimit(settings.rate_limit, folder)

    def require_key(self, headers: Mapping[str, str]) -> bytes:
        """Requires a known key; returns its digest."""
        key = _sent_key(headers)
        if not key:
            raise UnauthorizedError(
                "This needs an API key; send it as 'Authorization: Bearer <key>' or 'X-API-Key'."
            )
        digest = self._api.find(key) or self._admin.find(key)
        if digest is None:
            raise UnauthorizedError("The API key is not known here; check it, or ask for another.")
        return digest

    async def count(self, digest: bytes) -> None:
        """Counts a request of a key for its rate limit.

        Raises:
            RateLimitedError: the key has sent too many requests.
        """
        if self._rate:
            await self._rate.take(digest)

    def require_admin_key(self, headers: Mapping[str, str]) -> bytes:
        """Requires the key of an administrator; returns its digest.

        Raises:
            ForbiddenError: there are no such keys, or the key is another one.
        """
        if not self._admin.configured:
            raise ForbiddenError("Administration is off: the service has no CIFAR10_ADMIN_KEYS.")
        self.require_key(headers)
        digest = self._admin.find(_sent_key(headers) or "")
        if digest is None:
            raise ForbiddenError("This API key may not administer the service; use one that may.")
        return digest


def _sent_key(headers: Mapping[str, str]) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
