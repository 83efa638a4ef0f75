"""The metadata index: its tables, read-only sessions, and the secret that opens it.

Runs in the web processes and in the prefetch process; the import of the embedded data store writes through `schema`.
"""
