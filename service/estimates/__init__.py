"""What an export would take and become, before it is created."""
