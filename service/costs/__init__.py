"""What exports cost: prices, budgets and usage."""
