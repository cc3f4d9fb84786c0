"""P1, P2, P7 of §3.9, the block parametrisation of §3.3, and the errors of §12 that concern the generator."""

import warnings

import pytest
import torch

from koopgen import (
    CartesianGenerator,
    SelfAdjointBases,
    SkewAdjointBases,
    StateIndependentWarning,
    real_block,
)

BOTH_FIELDS = pytest.mark.parametrize("field", ["complex", "real"])
BOTH_TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
SIGNS = [("free", None), ("nonpositive", None), ("capped", 0.3)]


def generator(d=6, m_skew=3, m_self=3, **options):
    torch.manual_seed(0)
    return CartesianGenerator(d, m_skew, m_self, hidden=16, **options).eval()


def opened(module):
    """Parameters as after training: the gate no longer nearly uniform."""
    with torch.no_grad():
        for parameter in module.gate.parameters():
            parameter.normal_(0, 1)
    return module


def test_real_block_is_complex_multiplication():
    A, B, x, y = torch.randn(3, 3), torch.randn(3, 3), torch.randn(3), torch.randn(3)
    expected = torch.complex(A, B) @ torch.complex(x, y)
    got = real_block(A, B) @ torch.cat([x, y])
    torch.testing.assert_close(torch.complex(got[:3], got[3:]), expected)


@BOTH_FIELDS
@BOTH_TYPES
@pytest.mark.parametrize("d", [2, 6, 32])
def test_bases_are_skew_and_symmetric_to_the_last_bit(field, dtype, d):
    S = SkewAdjointBases(4, d, field).to(dtype)()
    assert S.abs().max() > 0
    assert torch.equal(S.mT, -S)
    for sign, cap in SIGNS:
        H = SelfAdjointBases(4, d, field, sign, cap).to(dtype)()
        assert torch.equal(H.mT, H)


@BOTH_FIELDS
@BOTH_TYPES
@pytest.mark.parametrize(("sign", "cap"), SIGNS)
def test_parts_are_exact_after_mixing(field, dtype, sign, cap):
    """P1, for random weights and after steps of an optimiser."""
    module = opened(generator(field=field, dissipation=sign, cap=cap)).to(dtype)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    z = torch.randn(20, 6, dtype=dtype)
    for _ in range(5):
        parts = module.parts(z)
        assert torch.equal(parts.skew.mT, -parts.skew)
        assert torch.equal(parts.self_adjoint.mT, parts.self_adjoint)
        optimizer.zero_grad()
        (parts.total @ z[..., None]).square().sum().backward()
        optimizer.step()


@BOTH_FIELDS
@pytest.mark.parametrize(("sign", "cap"), SIGNS)
def test_the_fast_path_of_roll_outs_is_the_sum_of_the_parts(field, sign, cap):
    module = opened(generator(field=field, dissipation=sign, cap=cap, scale=2.5)).double()
    z = torch.randn(5, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(module(z), module.parts(z).total, rtol=0, atol=1e-13)


def test_free_numbers_are_recovered_and_complex_linear():
    """S + H = R(A, B) for the same A, B; both commute with J = R(0, I)."""
    S, H = SkewAdjointBases(2, 6).double(), SelfAdjointBases(2, 6).double()
    H.load_state_dict(S.state_dict())
    A, B = S.free.unbind(1)
    torch.testing.assert_close(S() + H(), real_block(A, B), rtol=0, atol=1e-15)
    J = real_block(torch.zeros(3, 3), torch.eye(3)).double()
    for bases in (S(), H()):
        torch.testing.assert_close(bases @ J, J @ bases, rtol=0, atol=0)


def test_spectra_of_the_complex_field():
    S, H = SkewAdjointBases(1, 6).double(), SelfAdjointBases(1, 6).double()
    A, B = S.free[0]
    hermitian = -1j * torch.complex((A - A.mT) / 2, (B + B.mT) / 2)
    omega = torch.linalg.eigvalsh(hermitian)
    expected = torch.cat([omega, -omega]).sort().values
    torch.testing.assert_close(torch.linalg.eigvals(S()[0]).imag.sort().values, expected)
    values = torch.linalg.eigvalsh(H()[0])
    torch.testing.assert_close(values[::2], values[1::2])  # every eigenvalue twice


@BOTH_FIELDS
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_exponential_of_the_skew_part_is_orthogonal(field, dtype, limit):
    """P2."""
    K = torch.matrix_exp(opened(generator(field=field)).to(dtype).parts(torch.randn(9, 6, dtype=dtype)).skew)
    assert (K.mT @ K - torch.eye(6, dtype=dtype)).abs().max() < limit
    assert (torch.linalg.det(K) - 1).abs().max() < limit


@BOTH_FIELDS
def test_mixtures_stay_in_the_hull_of_the_bases(field):
    """P7."""
    module = opened(generator(field=field)).double()
    parts = module.parts(3 * torch.randn(200, 6, dtype=torch.float64))
    H, S = torch.linalg.eigvalsh(module.self_adjoint()), torch.linalg.matrix_norm(module.skew(), 2)
    rates = torch.linalg.eigvalsh(parts.self_adjoint)
    assert rates.min() >= H.min() - 1e-12
    assert rates.max() <= H.max() + 1e-12
    assert torch.linalg.eigvals(parts.skew).imag.abs().max() <= S.max() + 1e-12


@BOTH_FIELDS
def test_nonpositive_and_capped_bound_the_rates(field):
    z = 3 * torch.randn(200, 6, dtype=torch.float64)
    bounds = {"nonpositive": 0.0, "capped": 0.3, "free": None}
    for sign, cap in SIGNS:
        module = opened(generator(field=field, dissipation=sign, cap=cap, scale=5.0)).double()
        with torch.no_grad():
            module.self_adjoint.free *= 3
        top = torch.linalg.eigvalsh(module.parts(z).self_adjoint).max()
        if bounds[sign] is None:
            assert top > 0.3  # negative control: "free" does grow
        else:
            assert top <= bounds[sign] + 1e-10


@BOTH_FIELDS
def test_the_mean_rate_at_the_start_is_as_documented(field):
    """Capped starts at mean rate 0, nonpositive at minus a tenth of the norm 2 of a free basis."""
    torch.manual_seed(0)
    for sign, cap, mean in (("nonpositive", None, -0.2), ("capped", 0.5, 0.0)):
        H = SelfAdjointBases(200, 16, field, sign, cap)()
        trace = H.diagonal(dim1=-2, dim2=-1).mean()
        assert abs(trace - mean) < 0.03
    norm = torch.linalg.matrix_norm(SelfAdjointBases(50, 64, field)(), 2).mean().item()
    assert norm == pytest.approx(2.0 if field == "complex" else 2**0.5, rel=0.1)


def test_the_generator_depends_on_the_state_only_with_two_bases_in_a_group():
    with pytest.warns(StateIndependentWarning, match="m_skew=1 and m_self=1 with a softmax gate"):
        module = opened(CartesianGenerator(6, 1, 1)).eval()
    z = torch.randn(5, 6)
    assert torch.equal(module(z), module(z[:1]).expand(5, -1, -1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = opened(CartesianGenerator(6, 2, 0)).eval()
    assert not torch.allclose(module(z), module(z[:1]).expand(5, -1, -1))


def test_gradients_are_those_of_finite_differences():
    module = opened(generator(4, 2, 2, dissipation="nonpositive")).double()
    z = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (z,))
    assert torch.autograd.gradcheck(lambda z: module.parts(z).total, (z,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d": 5}, "d must be even for field='complex', got 5: use d = 6 or field='real'"),
        ({"m_skew": 0, "m_self": 0}, "m_skew and m_self are both 0"),
        ({"m_self": -1}, "m_self must be at least 0, got -1"),
        ({"field": "quaternion"}, "field must be one of 'complex', 'real', got 'quaternion'"),
        ({"dissipation": "negative"}, "dissipation must be one of .* got 'negative'"),
        ({"dissipation": "none"}, "dissipation='none' means m_self=0, got m_self=2"),
        ({"dissipation": "nonpositive", "m_self": 0}, "needs m_self of at least 1, got 0"),
        ({"dissipation": "nonpositive", "gate": "linear"}, "gate='linear' bounds nothing"),
        ({"dissipation": "capped", "cap": 1.0, "gate": "linear"}, "gate='linear' bounds nothing"),
        ({"dissipation": "capped"}, "cap is missing"),
        ({"dissipation": "capped", "cap": -1.0}, "cap must be finite and above 0, got -1.0"),
        ({"cap": 1.0}, "cap=1.0 belongs to 'capped', got 'free'"),
        ({"gate": "hard"}, "kind must be one of"),
        ({"scale": 0.0}, "scale must be finite and above 0, got 0.0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CartesianGenerator(**{"d": 6, "m_skew": 2, "m_self": 2, **arguments})


def test_real_fields_may_be_odd_and_bad_inputs_are_named():
    module = CartesianGenerator(5, 2, 2, field="real").eval()
    assert module(torch.zeros(3, 5)).shape == (3, 5, 5)
    for call in (module, module.parts):
        with pytest.raises(ValueError, match=r"z has shape \(3, 4\); its last axis must have 5 entries"):
            call(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="weights has shape"):
        module.skew.mix(torch.ones(4, 3))
    with pytest.raises(ValueError, match="A and B must be square matrices of one shape"):
        real_block(torch.zeros(2, 3), torch.zeros(2, 3))
