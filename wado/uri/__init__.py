"""The URI service (WADO-URI, PS3.18 Section 9). Runs in the web processes.

routes → query and rendering (parse) → wado.locate → offers (agree on a media type) → one object or one picture
"""
