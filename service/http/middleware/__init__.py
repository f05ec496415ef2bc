"""Middleware for every request: one pure ASGI class in each file."""
