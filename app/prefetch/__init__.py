"""Loading image sets before they are asked for: routes (web processes), schedule and worker.

`schedule` and `worker` run in the prefetch process.
"""
