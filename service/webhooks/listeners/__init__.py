"""Endpoints without a URL: a listener takes their deliveries over a stream and posts what came back."""
