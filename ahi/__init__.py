"""AWS HealthImaging: client, image sets, FrameFetcher processes, codecs, cache. Each room says where it runs."""
