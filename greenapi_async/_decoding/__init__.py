"""The bytes of an array to statuses, and a status back to the wire's JSON."""
