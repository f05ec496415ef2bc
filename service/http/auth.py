"""The authenticator: whose key opens what. Keys are kept and compared as digests, never as text."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from service.errors import ForbiddenError, UnauthorizedError
from service.http.rate_limit import RateLimit
from service.settings import Settings, read_keys

# How old the content of a file of keys may be, in seconds.
FRESH_S = 1.0

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
        self._read_at = -FRESH_S
        self._refresh()

    @property
    def configured(self) -> bool:
        """Whether there are keys, or a file for them: one that was emptied locks everyone out."""
        return bool(self._given) or self._file is not None

    def find(self, key: str) -> bytes | None:
        """The digest of a key if it is one of these, found in a time that tells nothing of them."""
        self._refresh()
        sent = _digest(key)
        found = [hmac.compare_digest(sent, known) for known in self._given + self._in_file]
        return sent if any(found) else None

    def _refresh(self) -> None:
        now = self._clock()
        if self._file is None or now - self._read_at < FRESH_S:
            return
        self._read_at = now
        try:
            self._in_file = [_digest(key) for key in read_keys(self._file)]
        except ValueError as error:  # the last ones that could be read still hold
            logger.warning("keys", extra={"fields": {"reason": str(error)}})


class Authenticator:
    """Which key opens what, as the settings say."""

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        """Reads the keys.

        Args:
            settings: the settings.
            folder: for what all processes of the service count together; a rate limit needs it.
        """
        self.api = Keys(settings.api_keys, settings.api_keys_file)
        self.admin = Keys(settings.admin_keys, settings.admin_keys_file)
        self._rate: RateLimit | None = None
        if settings.rate_limit:
            assert folder is not None, "a rate limit needs a folder"
            self._rate = RateLimit(settings.rate_limit, folder)

    def check(self, key: str | None) -> bytes:
        """Finds out whose request this is.

        Returns:
            The digest of the key.

        Raises:
            UnauthorizedError: the key is missing or unknown.
        """
        if not key:
            raise UnauthorizedError(
                "This needs an API key; send it as 'Authorization: Bearer <key>' or 'X-API-Key'."
            )
        known = self.api.find(key) or self.admin.find(key)
        if known is None:
            raise UnauthorizedError("The API key is not known here; check it, or ask for another.")
        return known

    def count(self, key: str | None) -> None:
        """Counts a request of this key.

        Raises:
            RateLimitedError: it has asked too often.
            UnauthorizedError: the key is missing or unknown.
        """
        digest = self.check(key)
        if self._rate:
            self._rate.take(digest)

    def check_admin(self, key: str | None) -> None:
        """Lets administrators in.

        Raises:
            ForbiddenError: there is no key for administration, or it is another one.
            UnauthorizedError: the key is missing or unknown.
        """
        if not self.admin.configured:
            raise ForbiddenError("Administration is off: the service has no CIFAR10_ADMIN_KEYS.")
        self.check(key)
        if not key or self.admin.find(key) is None:
            raise ForbiddenError("This API key may not administer the service; use one that may.")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


_bearer = HTTPBearer(auto_error=False)
_header = APIKeyHeader(name="X-API-Key", auto_error=False)


async def _sent_key(
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> str | None:
    return bearer.credentials if bearer else header


async def read_key(request: Request) -> str | None:
    """The key that a request was sent with, as the guards below see it."""
    return await _sent_key(await _bearer(request), await _header(request))


SentKey = Annotated[str | None, Depends(_sent_key)]


async def require_key(request: Request, key: SentKey) -> None:
    """Guards what needs a key."""
    authenticator: Authenticator = request.app.state.authenticator
    authenticator.check(key)


async def count_request(request: Request, key: SentKey) -> None:
    """Guards what needs a key, and counts for its rate limit."""
    authenticator: Authenticator = request.app.state.authenticator
    authenticator.count(key)


async def require_admin(request: Request, key: SentKey) -> None:
    """Guards administration, which needs a key of its own."""
    authenticator: Authenticator = request.app.state.authenticator
    authenticator.check_admin(key)
