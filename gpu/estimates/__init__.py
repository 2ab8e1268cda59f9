"""What an export will be, or why it will fail, from its configuration and the headers of its sources."""
