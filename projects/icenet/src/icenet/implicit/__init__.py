"""Fixed points of f_θ(F; u): solvers that count per sample, gradients through the solution, and what they cost (§3.3–3.6).

Import from the submodules.
"""
