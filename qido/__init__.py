"""Search (QIDO-RS): routes → parse → statements → execute (with image_sets) → encode. Runs in the web processes."""
