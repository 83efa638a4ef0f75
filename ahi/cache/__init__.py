"""The cache on disk, which all processes share, and small caches within one process. Runs in all processes."""
