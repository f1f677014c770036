"""What to ask next, and what follows a failure."""
