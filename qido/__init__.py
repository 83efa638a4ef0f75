"""Search (QIDO-RS): routes → parse → plan → execute (with image_sets) → encode. Runs in the web processes."""
