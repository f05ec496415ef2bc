"""Requests to servers on the loopback, each on a connection of its own.

The shortcuts of httpx2 load the certificates of the web for each request, which takes 20 ms.
"""

from functools import partial

import httpx2

get = partial(httpx2.get, verify=False)
post = partial(httpx2.post, verify=False)
request = partial(httpx2.request, verify=False)
