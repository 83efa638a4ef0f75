"""The index of a data store folder: our own tables, or AWS's as its index writer fills them, for tests.

Runs in the process of an import, and at the start of the embedded data store.
"""
