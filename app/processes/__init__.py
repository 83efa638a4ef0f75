"""The processes of the service: they are started, watched, replaced and ended. Runs in the supervisor.

Only `web` and the functions `run` in `children` run in the other processes.
"""
