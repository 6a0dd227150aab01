"""Graphs of calls that need no driver between them: the calls, and how a cluster runs them."""
