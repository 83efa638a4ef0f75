"""Metadata (PS3.18 Section 10.4.1.1.2): routes → fields (parse) → locate → encode.

Runs in the web processes; `encode` in a FrameFetcher where it is work.
"""
