"""The FrameFetcher processes: the pool, the scheduler and the jobs.

Runs in the FrameFetchers, except for `pool` and the values of `scheduler`, which the processes that send jobs also use.
"""
