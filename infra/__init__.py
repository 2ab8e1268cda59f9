"""Knows machines, never exports."""
