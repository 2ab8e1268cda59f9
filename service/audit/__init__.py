"""Who did what: entries that are written with the change that they tell of."""
