"""The URI service (WADO-URI, PS3.18 Section 9): routes → query (parse) → locate → one object or one picture.

Runs in the web processes.
"""
