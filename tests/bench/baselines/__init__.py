"""The same exports as people usually write them: scripts for an environment that has MoviePy and OpenCV."""
