"""The metadata index: its tables, read-only sessions, and the secret that opens it."""
