"""Adapters written for the original, the Elixir library, on these workers.

Owns what they need that adapters of this package do not: a new object for each call, the hooks
around it, tools that decide at each call whether they stream. In `path` is the package
`snakepit_bridge` that they import. Nothing of this is loaded for other adapters.
"""
