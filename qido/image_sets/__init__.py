"""What the image sets say where the index lacks it or may be wrong. Runs in the web processes."""
