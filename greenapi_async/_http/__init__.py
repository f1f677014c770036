"""Connections to anywhere: nothing here knows about GREEN-API."""
