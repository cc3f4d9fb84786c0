"""Scaling laws: their forms, fits with confidence, comparison by hold-out, compute-optimal allocation (§3.5)."""
