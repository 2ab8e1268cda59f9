"""Outbound webhooks: endpoints, the outbox, and its delivery."""
