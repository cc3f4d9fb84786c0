"""C7: bit errors of the link behind the estimate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from tenfold.claims import Figure, Measurement, Scale, Table, Value, claim

from ..figures import over_snr
from ..ofdm.channel import Slots
from ..ofdm.config import OFDMConfig
from ..ofdm.link import rayleigh_ber, uncoded_ber
from .budget import ALONE, BUDGETS
from .formulas import EXACT, LS, lmmse_exact, ls_linear
from .networks import icenet
from .scores import estimates, settles
from .setting import Tests, draw_tests, setting_for
from .training import contest, derive, device_for, in_words

PERFECT = "perfect"
ORDERS = {"QPSK": 4, "16-QAM": 16}
EQUALISERS = ("zf", "mmse")


@claim(
    "C7",
    "Better estimates give fewer bit errors",
    source="inferred: the purpose of channel estimation; the paper reports NMSE",
)
def bit_errors(scale: Scale, seed: int) -> Measurement:
    """Uncoded QPSK and 16-QAM behind zero-forcing and MMSE one-tap equalisers, SNR in {0, 5, …, 25} dB. σ is the standard error over
    slots, of differences slot by slot. Both equalisers decide alike once the shrinkage of MMSE is undone.

    smoke: with perfect knowledge QPSK and 16-QAM match theory within 3σ at every SNR; perfect <= LMMSE <= LS within 2σ.
    cpu, gpu, paper: the same, with ICENet between LMMSE and LS."""
    budget, setting, device = BUDGETS[scale], setting_for(scale), device_for(scale)
    run, _, test = derive(seed, 3)
    tests = draw_tests(setting, budget.tests, test, device=device)
    known = {EXACT: lmmse_exact(setting, device), LS: ls_linear(setting, device)}
    failure, settled = None, dict[str, bool]()
    order: tuple[str, ...] = (PERFECT, EXACT, LS)
    if scale != Scale.SMOKE:
        recipe = replace(budget.recipe, rates=(ALONE,))
        outcome = contest(icenet(setting, budget.size), setting, recipe, run, device, None)
        known["ICENet"], failure = outcome.model, outcome.training.failure
        settled = settles(outcome.model, tests)
        order = (PERFECT, EXACT, "ICENet", LS)
    found = {
        name: {snr: estimates(one, slots) for snr, slots in tests.items()} for name, one in known.items()
    }
    found[PERFECT] = {snr: slots.h for snr, slots in tests.items()}
    rates = measure(setting.config, tests, {name: found[name] for name in order}, test)
    return report(rates, order, settled | {"training_did_not_fail": failure is None})


Rates = dict[tuple[str, str, float], dict[str, Float[Tensor, "b"]]]
"""(modulation, equaliser, SNR in dB) -> estimator -> bit error rate of each slot."""


def measure(
    config: OFDMConfig, tests: Tests, found: Mapping[str, Mapping[float, Complex[Tensor, "b k s"]]], seed: int
) -> Rates:
    """The same bits and noise for every estimator."""
    rates: Rates = {}
    for word, order in ORDERS.items():
        for equaliser in EQUALISERS:
            for snr, slots in tests.items():
                rates[word, equaliser, snr] = {
                    name: _slot_rates(config, slots, estimate[snr], order, equaliser, seed)
                    for name, estimate in found.items()
                }
    return rates


def _slot_rates(
    config: OFDMConfig, slots: Slots, h_hat: Complex[Tensor, "b k s"], order: int, equaliser: str, seed: int
) -> Float[Tensor, "b"]:
    generator = torch.Generator(slots.h.device).manual_seed(seed)
    counted = uncoded_ber(
        config, slots.h, h_hat, slots.noise_var, order=order, equalizer=equaliser, generator=generator
    )
    return counted.errors.double() / counted.bits


@dataclass(frozen=True)
class Estimate:
    """A mean over slots and its standard error."""

    mean: float
    sigma: float


def mean_of(per_slot: Float[Tensor, "b"]) -> Estimate:
    return Estimate(float(per_slot.mean()), float(per_slot.std()) / math.sqrt(len(per_slot)))


def matches_theory(rates: Rates) -> dict[str, bool]:
    """Perfect knowledge within 3σ of the Rayleigh formula at every SNR; zero forcing, which theory is for."""
    held = dict.fromkeys(ORDERS, True)
    for (word, equaliser, snr), row in rates.items():
        if equaliser == "zf":
            found = mean_of(row[PERFECT])
            held[word] &= abs(found.mean - rayleigh_ber(snr, ORDERS[word])) <= 3 * found.sigma
    return {
        f"{word}_with_perfect_knowledge_matches_theory_within_3_sigma": value for word, value in held.items()
    }


def is_ordered(rates: Rates, order: tuple[str, ...]) -> dict[str, bool]:
    """Each estimator at most as many errors as the next one, within 2σ of the difference."""
    held = dict.fromkeys(pairwise(order), True)
    for row in rates.values():
        for better, worse in held:
            difference = mean_of(row[better] - row[worse])
            held[better, worse] &= difference.mean <= 2 * difference.sigma
    return {f"{better}_at_most_{worse}_at_every_SNR": value for (better, worse), value in held.items()}


def report(rates: Rates, order: tuple[str, ...], trained: Mapping[str, bool]) -> Measurement:
    conditions = {**trained, **matches_theory(rates), **is_ordered(rates, order)}
    ours = "ICENet" if "ICENet" in order else EXACT
    headline = rates["QPSK", "zf", 10.0]
    values: dict[str, Value] = dict(conditions)
    for (word, equaliser, snr), row in rates.items():
        values |= {
            f"{word}/{equaliser}/{name} at {snr:g} dB": float(per_slot.mean())
            for name, per_slot in row.items()
        }
    return Measurement(
        quantity=f"bit error rate of QPSK at 10 dB, zero forcing, {ours}; baseline: {LS}",
        ours=float(headline[ours].mean()),
        baseline=float(headline[LS].mean()),
        criterion=in_words(conditions),
        passed=all(conditions.values()),
        values=values,
        tables=[_table(word, equaliser, rates, order) for word in ORDERS for equaliser in EQUALISERS],
        figures=[_picture(word, rates, order) for word in ORDERS],
    )


def _table(word: str, equaliser: str, rates: Rates, order: tuple[str, ...]) -> Table:
    columns = ("SNR (dB)", "theory, perfect", *order)
    rows: list[tuple[Value, ...]] = []
    for (modulation, which, snr), row in rates.items():
        if (modulation, which) == (word, equaliser):
            rows.append((snr, rayleigh_ber(snr, ORDERS[word]), *(float(row[name].mean()) for name in order)))
    return Table(f"{word}, {equaliser}", columns, tuple(rows))


def _picture(word: str, rates: Rates, order: tuple[str, ...]) -> Figure:
    snrs = sorted({snr for _, _, snr in rates})
    lines = {name: (snrs, [float(rates[word, "mmse", snr][name].mean()) for snr in snrs]) for name in order}
    summary = "; ".join(f"{name} {values[-1]:.2g}" for name, (_, values) in lines.items())
    return over_snr(
        f"ber-{word.lower()}",
        lines,
        f"Uncoded {word} behind an MMSE equaliser",
        f"Bit error rate over the SNR, one line an estimator; at the highest SNR: {summary}.",
        "bit error rate",
        "y",
    )
