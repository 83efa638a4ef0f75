"""Parse: from the parameters of a search to a typed query. Runs in the web processes."""
