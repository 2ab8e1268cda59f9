"""Serve HTTP/1 with uvicorn, with limits on heads, bodies and connections."""
