"""Estimates of Lipschitz constants from the Jacobian and from pairs (§3.7); import from the submodules or from `emergence`."""
