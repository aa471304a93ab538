"""Clients we did not write, unmodified, against a server of ours in a process of its own."""
