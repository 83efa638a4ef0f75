"""The cache on disk, which all processes share, and caches in the memory of one process. Runs in all processes."""
