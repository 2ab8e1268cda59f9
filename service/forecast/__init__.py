"""How long runs take: what an export is as work, the rates learned from finished runs, and what is left of a run."""
