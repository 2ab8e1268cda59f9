"""Which pages may use the service: names of its host, CORS, and who may use the credentials of a browser."""
