"""Which deliveries are sent next: what is due, shared fairly among endpoints, within their rate limits."""
