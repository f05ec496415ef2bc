"""The peers: each a file, its pinned requirements beside it, and an environment of its own."""
