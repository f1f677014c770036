"""Many instances in one process: whose turn it is, and what the log says of a host."""
