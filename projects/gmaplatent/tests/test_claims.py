from gmaplatent import claims
from tenfold.claims import Scale, collect


def test_the_first_claim_fails_until_it_is_written():
    """Replace this test when the claim is written."""
    measured = collect(claims)["C1"](Scale.SMOKE, seed=0)
    assert measured.passed is False
