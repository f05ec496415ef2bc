"""Requests to servers on the loopback, each on a connection of its own.

The shortcuts of httpx2 load the certificates of the web for each request, which takes 20 ms, and
give up after 5 s, which a busy machine may take.
"""

from functools import partial

import httpx2

TIMEOUT_S = 60

get = partial(httpx2.get, verify=False, timeout=TIMEOUT_S)
post = partial(httpx2.post, verify=False, timeout=TIMEOUT_S)
request = partial(httpx2.request, verify=False, timeout=TIMEOUT_S)
