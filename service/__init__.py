"""The web service: durable jobs, verified callbacks, fan-out."""
