"""Traces of exports: from the request through the run to the webhooks. Off unless a collector is named.

Only `tracer` imports OpenTelemetry, and only `switch` imports `tracer`: without a collector none of it is loaded.
"""
