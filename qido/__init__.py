"""Search (QIDO-RS): routes → query (parse) → plan (SQL) → results (encode)."""
