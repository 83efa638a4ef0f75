"""Loading image sets before clients ask for them. `routes` runs in the web processes.

`schedule` and `worker` run in the prefetch process.
"""
