"""The use cases of exports, without HTTP."""
