"""The processes of the service: they are started, watched, replaced and ended. Runs in the supervisor.

Only `web` and the functions `run` in `service` run in the other processes.
"""
