"""Metadata (PS3.18 Section 10.4.1.1.2). Runs in the web processes; `encode` is a job of the FrameFetchers.

routes → fields (parse) → wado.locate → encode
"""
