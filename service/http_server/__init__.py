"""Serve HTTP/1 with bounds on heads, bodies and connections: uvicorn and what is changed in it."""
