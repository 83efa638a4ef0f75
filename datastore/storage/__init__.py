"""Image sets on disk. Runs in the process of an import, which writes, and of the data store, which reads."""
