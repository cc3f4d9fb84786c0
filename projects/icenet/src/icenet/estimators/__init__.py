"""Estimators of the whole channel from its least-squares estimates at the pilots (§4.4); import from the submodules."""
