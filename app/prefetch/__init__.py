"""Loading image sets before clients ask for them. `routes` runs in the web processes, `tasks` in these and in the next.

`schedule` and `worker` run in the prefetch process.
"""
