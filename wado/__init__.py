"""Retrieve (WADO-RS): routes → target (parse) → locate → representation (negotiate) → metadata, frames, pictures…

Runs in the web processes, but for the jobs of `metadata.encode`, `rendered` and `pictures` (FrameFetcher processes).
"""
