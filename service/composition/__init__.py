"""Build the long-lived objects of the service from its settings, and connect them."""
