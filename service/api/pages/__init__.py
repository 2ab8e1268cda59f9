"""The pages for people: the interactive reference of the API, and the guides."""
