"""Connections to anywhere: nothing here knows GREEN-API."""
