"""Who a request comes from and what it may do: tokens of identity providers, API keys and their scopes."""
