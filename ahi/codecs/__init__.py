"""Frames: decoded, encoded, and their colours. Runs in the FrameFetcher processes."""
