"""Upper bounds of Lipschitz constants by composition (§3.7); import from the submodules or from `emergence`."""
