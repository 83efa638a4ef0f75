"""The FrameFetcher processes: pool, scheduler and jobs.

Runs in them, except for `pool`, through which the web processes reach them.
"""
