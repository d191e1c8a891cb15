"""An adapter that cannot be imported."""

raise RuntimeError("not today")
