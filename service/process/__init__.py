"""Processes and sockets: the supervisor and its workers."""
