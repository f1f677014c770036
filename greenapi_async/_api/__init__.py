"""One instance of GREEN-API: its endpoint, its token, its rate, and what its refusals mean."""
