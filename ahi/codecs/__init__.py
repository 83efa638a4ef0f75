"""Decoding and encoding of frames, and their colours. Runs in the FrameFetchers; `pixel_format` in all processes."""
