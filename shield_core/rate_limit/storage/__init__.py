"""Storages of counters: in this process, with a snapshot in a file, in Redis."""
