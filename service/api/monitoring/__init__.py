"""What operators and users ask about the service as a whole."""
