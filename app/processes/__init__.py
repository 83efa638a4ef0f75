"""The processes of the service: started, watched, replaced and ended. Runs in the supervisor, but for `web`.

`web` is what a web process runs.
"""
