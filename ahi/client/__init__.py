"""The calls to AWS HealthImaging: requests, retries, deadlines, limits. Runs in the FrameFetcher processes."""
