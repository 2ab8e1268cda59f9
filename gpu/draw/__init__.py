"""Shapes, text and blending on frames."""
