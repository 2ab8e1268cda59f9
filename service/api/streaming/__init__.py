"""Server-Sent Events and WebSockets."""
