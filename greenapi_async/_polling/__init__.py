"""What to request next, and what follows a failure."""
