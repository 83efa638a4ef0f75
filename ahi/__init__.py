"""AWS HealthImaging: its client, image sets as typed values, the FrameFetcher processes, the cache."""
