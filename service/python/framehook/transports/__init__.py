"""Send requests and wait, on an event loop or blocking."""
