"""What `tenfold reproduce` measures, and on which launcher."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold.claims import Scale
from tenfold_benchmarks.discovery import ListedClaim, Paper, choose, unknown
from tenfold_benchmarks.environment import git_commit
from tenfold_benchmarks.files import require_writable
from tenfold_benchmarks.ledger import Ledger, Watcher
from tenfold_benchmarks.measure import Task
from tenfold_benchmarks.results import Record

Launch = Callable[[Ledger], None]


@dataclass(frozen=True)
class Plan:
    """What is to be measured: tasks, what is known about their claims, and the commit of each paper's source."""

    tasks: Sequence[Task]
    claims: dict[tuple[str, str], ListedClaim]
    commits: dict[str, str | None]
    problems: Sequence[str]


def make_plan(
    names: Iterable[str], scale: Scale, seeds: Sequence[int], claim_ids: Sequence[str] = ()
) -> Plan:
    """The tasks for some papers (all installed ones if none is named), seed by seed, claims in turn.

    A paper whose claims cannot be read is a problem of the plan if it was not named, and does not stop the others.

    Raises:
        ValueError: on unknown papers or claims, bad seeds, or if there is nothing to measure; lists what there is.
    """
    if not seeds or min(seeds) < 0:
        raise ValueError(f"seeds must be at least one number of at least 0, got {list(seeds)}")
    names = list(names)
    readable, problems = _readable(choose(names), bool(names))
    chosen = {p.name: _chosen_claims(p, scale, claim_ids) for p in readable}
    _check_claim_ids(readable, scale, claim_ids, chosen)
    if not any(chosen.values()):
        have = sorted({s for p in readable for c in p.claims.values() for s in c.scales})
        raise ValueError(
            f"nothing to measure at scale {scale}; scales with claims: {', '.join(have) or 'none'}"
        )
    tasks = [
        Task(
            paper=paper.name,
            module=paper.module,
            claim=listed.id,
            scale=str(scale),
            seed=seed,
            cpus=listed.cpus,
            code_hash=paper.code_hash(listed.id),
            needs_gpu=scale in (Scale.GPU, Scale.PAPER),
        )
        for seed in seeds
        for paper in readable
        for listed in chosen[paper.name]
    ]
    return Plan(
        tasks,
        {(listed.paper, listed.id): listed for claims in chosen.values() for listed in claims},
        {paper.name: git_commit(paper.sources.roots[paper.module.partition(".")[0]]) for paper in readable},
        problems,
    )


def _readable(papers: Sequence[Paper], named: bool) -> tuple[list[Paper], list[str]]:
    readable, problems = [], []
    for paper in papers:
        try:
            for claim in paper.claims:
                paper.code_hash(claim)
        except ValueError as error:
            if named:
                raise
            problems.append(f"left out {paper.name}: {error}")
        else:
            readable.append(paper)
    if not readable:
        raise ValueError("; ".join(problems))
    return readable, problems


def _chosen_claims(paper: Paper, scale: Scale, claim_ids: Sequence[str]) -> list[ListedClaim]:
    return [c for c in paper.claims.values() if scale in c.scales and (not claim_ids or c.id in claim_ids)]


def _check_claim_ids(
    papers: Sequence[Paper], scale: Scale, claim_ids: Sequence[str], chosen: dict[str, list[ListedClaim]]
) -> None:
    """Every claim asked for must exist in one of the papers, at this scale."""
    known = [claim for paper in papers for claim in paper.claims]
    measured = {listed.id for claims in chosen.values() for listed in claims}
    for claim_id in claim_ids:
        if claim_id not in known:
            raise ValueError(unknown("claim", claim_id, dict.fromkeys(known)))
        if claim_id not in measured:
            scales = {s for p in papers for c in p.claims.values() if c.id == claim_id for s in c.scales}
            raise ValueError(f"claim {claim_id} has no scale {scale}; it has {', '.join(sorted(scales))}")


def reproduce(
    plan: Plan, results: Path, launch: Launch, watcher: Watcher, force: bool = False
) -> list[Record]:
    """Measure what the results folder does not hold yet, and return all records of the plan in its order.

    Raises:
        PermissionError: if the results folder cannot be written; before anything is computed.
    """
    for task in plan.tasks[:1]:
        require_writable(results)
        require_writable(task.entry.path(results).parent)
    for problem in plan.problems:
        watcher.notice(problem)
    ledger = Ledger(results, plan.tasks, plan.claims, plan.commits, watcher, force)
    if ledger.open:
        launch(ledger)
    return [ledger.records[task.entry] for task in plan.tasks if task.entry in ledger.records]


def excused(record: Record) -> bool:
    """Whether a record is no reason for a non-zero exit: the claim holds, or fails as it is known to.

    An error is never excused: a known gap says that a claim was measured and does not hold.
    """
    return bool(record["passed"]) or (not record.get("error") and bool(record.get("known_gap")))
