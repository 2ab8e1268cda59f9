"""The job domain: table, state machine, leases, queries and how a job is shown."""
