"""Depth limits (§3.2, §3.8): iterating blocks, fixed points, and telling contractive, critical and expansive apart.

Import from the submodules or from `emergence`.
"""
