"""The job domain: table, state machine, leases, queries and serializers."""
