import pytest
import torch

from koopgen import MixtureGate


def test_each_group_has_convex_weights_of_its_own():
    alpha, beta = MixtureGate(4, 3, 5).eval()(torch.randn(6, 7, 4))
    assert alpha.shape == (6, 7, 3)
    assert beta.shape == (6, 7, 5)
    for weights in (alpha, beta):
        torch.testing.assert_close(weights.sum(-1), torch.ones(6, 7))
        assert (weights > 0).all()


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_mixing_starts_nearly_uniform_but_depends_on_the_state(kind):
    torch.manual_seed(0)
    alpha, beta = MixtureGate(4, 4, 2, hidden=64, kind=kind).eval()(torch.randn(100, 4))
    assert (alpha - 1 / 4).abs().max() < 0.2
    assert (beta - 1 / 2).abs().max() < 0.2
    assert alpha.std(0).min() > 0


def test_linear_weights_are_not_bounded():
    gate = MixtureGate(4, 2, 2, kind="linear").eval()
    alpha, _ = gate(1e3 * torch.randn(50, 4))
    assert alpha.min() < 0
    assert alpha.max() > 1


def test_noise_falls_linearly_and_is_counted_only_in_training():
    gate = MixtureGate(4, 2, 2, noise=0.5, noise_steps=10)
    z = torch.randn(3, 4)
    gate.eval()
    torch.testing.assert_close(gate(z), gate(z), rtol=0, atol=0)
    assert gate.evaluations == 0
    gate.train()
    levels = []
    for _ in range(12):
        levels.append(float(gate.noise_level()))
        gate(z)
    assert levels == pytest.approx([0.5 * max(0, 1 - k / 10) for k in range(12)])
    assert gate.evaluations == 12
    assert "evaluations" in gate.state_dict()
    torch.testing.assert_close(gate(z), gate.eval()(z), rtol=0, atol=0)  # the noise has gone


def test_noise_has_the_standard_deviation_it_says():
    torch.manual_seed(0)
    gate = MixtureGate(4, 2, 2, noise=0.5, noise_steps=10**9)
    z = torch.randn(1, 4).expand(20_000, 4)
    noise = gate.logits(z) - gate.net(z)
    torch.testing.assert_close(noise.std(0), torch.full((4,), 0.5), rtol=0.03, atol=0)


def test_a_softmax_over_single_weights_cannot_depend_on_the_state():
    assert MixtureGate(4, 1, 1).state_independent
    assert not MixtureGate(4, 2, 1).state_independent
    assert not MixtureGate(4, 1, 1, kind="linear").state_independent


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="m_skew and m_self are both 0"):
        MixtureGate(4, 0, 0)
    with pytest.raises(ValueError, match="m_skew must be at least 0, got -1"):
        MixtureGate(4, -1, 1)
    with pytest.raises(ValueError, match="kind must be one of 'softmax', 'linear', got 'hard'"):
        MixtureGate(4, 1, 1, kind="hard")
    with pytest.raises(ValueError, match="noise must be at least 0, got -1"):
        MixtureGate(4, 1, 1, noise=-1)
    with pytest.raises(ValueError, match="noise_steps must be at least 1, got 0"):
        MixtureGate(4, 1, 1, noise_steps=0)
    with pytest.raises(ValueError, match=r"z has shape \(2, 3\); its last axis must have 4 entries"):
        MixtureGate(4, 1, 1)(torch.zeros(2, 3))
