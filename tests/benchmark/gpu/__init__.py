"""Whether the service uses a GPU as it should, and how fast it is there; see `__main__.py`."""
