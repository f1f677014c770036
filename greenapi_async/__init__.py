"""Async client and poller for GREEN-API's incoming WhatsApp statuses."""
