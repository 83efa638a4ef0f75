"""The metadata index: its tables, read-only sessions, and the secret that opens it.

Runs in the web processes and in the prefetch process. The embedded data store creates and fills the tables of `schema`.
"""
