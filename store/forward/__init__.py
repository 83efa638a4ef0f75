"""The forwarder: one process sends what is in the spool to AHI, and writes the rows of the index.

    web process     Forwarder.store(entry)        →  the outcome of each instance
    forwarder       ForwardServer: StoreRequest   →  ForwardQueue → SeriesStorer.store(batch)

`client` runs in the web processes, all else in the forwarder.
"""
