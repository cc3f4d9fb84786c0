"""The loss of a window: zero for the exact generator, the terms of the notes, section 3.6."""

from collections.abc import Callable

import pytest
import torch

from koopgen.baselines import LRAN
from koopgen.losses import KoopGenLoss
from koopgen.model import KoopGen
from koopgen.objective import reconstruction_loss, window_loss


def orbit(dt: float, samples: int) -> torch.Tensor:
    """x(t) of ẋ = −0.1 x + J x from three states, exactly."""
    t = dt * torch.arange(samples, dtype=torch.float64)
    start = torch.tensor([1.0, 1j, 0.5 - 2j], dtype=torch.complex128)
    z = start[:, None] * torch.exp((-0.1 + 1j) * t)
    return torch.view_as_real(z)


def test_the_exact_generator_has_no_loss_and_a_wrong_one_has(oscillator: Callable[..., KoopGen]) -> None:
    x = orbit(0.1, 12)
    terms = window_loss(KoopGenLoss(w_rec=1.0), oscillator(1.0, 0.1, 0.1), x)
    assert max(float(term.detach()) for term in terms) < 1e-5
    wrong = window_loss(KoopGenLoss(w_rec=1.0), oscillator(1.3, 0.1, 0.1), x)
    assert wrong.prediction > 0.05
    assert wrong.reconstruction < 1e-5  # identities read out whatever the generator is


def test_the_roll_out_starts_from_the_first_sample_alone(oscillator: Callable[..., KoopGen]) -> None:
    """Changing later samples changes the targets, not the forecast: the loss of a window of garbage is that against zero error."""
    model, x = oscillator(1.0, 0.1, 0.1), orbit(0.1, 12)
    rolled = model.decode(model.rollout(model.encode(x[:, 0]), steps=11))
    garbage = torch.cat([x[:, :1], torch.randn(3, 11, 2, dtype=torch.float64)], 1)
    terms = window_loss(KoopGenLoss(w_lin=0.0), model, garbage)
    expected = KoopGenLoss(w_lin=0.0)(rolled, garbage)
    torch.testing.assert_close(terms.total, expected.total)


def test_losses_are_in_normalised_units() -> None:
    """A relative distance of data that are scaled away does not see their unit."""
    torch.manual_seed(0)
    x = torch.randn(4, 8, 2)
    losses = []
    for unit in (1.0, 100.0):
        torch.manual_seed(1)
        model = LRAN(2, 2, dt=0.1, hidden=8, normalisation="channel")
        model.scaler.fit(unit * x)
        losses.append(
            (window_loss(KoopGenLoss(), model, unit * x).total, reconstruction_loss(model, unit * x[:, 0]))
        )
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


def test_bad_windows_are_named() -> None:
    model = LRAN(2, 2, dt=0.1, hidden=8)
    for shape in ((3, 2), (3, 1, 2)):
        with pytest.raises(
            ValueError, match=r"x must be windows \(B, T, 2\) of at least 2 samples, got shape"
        ):
            window_loss(KoopGenLoss(), model, torch.zeros(shape))
