"""Routes of outbound webhooks: endpoints, listeners, deliveries, and the check of a received message."""
