"""Retrieve (WADO-RS and WADO-URI). Runs in the web processes, except for the jobs of the FrameFetchers.

routes → target (parse) → locate (which instances) → representation (agree with the client) → delivery
    → part10 and files | frames | bulk, in parts or in an archive

metadata   /metadata: routes in the web processes, `encode` is a job
rendered   /rendered and /thumbnail: routes in the web processes, `*_jobs` are jobs
rendering  pixels and data sets in, pictures out; runs in the FrameFetcher processes
uri        WADO-URI, in the web processes
"""
