"""Sockets and their addresses."""
