"""Metadata (PS3.18 Section 10.4.1.1.2): routes → fields (parse) → locate → encode, in a fetcher where it is work."""
