"""The same exports as people usually write them: scripts for an environment with MoviePy and OpenCV."""
