"""What a study tries: the project's own network, every combination, and models named one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from toolchain.demand.windows import EXPANDED
from toolchain.errors import ProjectError
from toolchain.network.candidate import Candidate, candidate_of
from toolchain.project import Feature, Project, Study, StudyModel

_KNOWN: tuple[Feature, ...] = ("units", "weekday", "month")


@dataclass(frozen=True)
class Trial:
    """A candidate and what people call it."""

    name: str
    candidate: Candidate


@dataclass(frozen=True)
class Plan:
    """All trials of a study; the first is the baseline."""

    trials: tuple[Trial, ...]
    seeds: tuple[int, ...]

    @property
    def baseline(self) -> Trial:
        """The project's own network: its float form is what losses are measured against."""
        return self.trials[0]

    @property
    def features(self) -> tuple[Feature, ...]:
        """Every feature that some trial reads, in the order of the dataset."""
        used = {feature for trial in self.trials for feature in trial.candidate.features}
        return tuple(feature for feature in _KNOWN if feature in used)


def make_plan(project: Project, *, quick: bool = False) -> Plan:
    """List what the project's study tries; with `quick`, in the short form it defines.

    Raises:
        ProjectError: two different models have the same name.
    """
    study = project.study
    base = candidate_of(project.network, project.compression.representative_windows)
    if quick:
        base = replace(base, epochs=min(base.epochs, study.quick.epochs))
    found: dict[str, Candidate] = {}
    trials = []
    for name, candidate in ((None, base), *_grid(study, base), *_named(study, base, quick=quick)):
        said = name or name_of(candidate, base)
        if candidate in found.values() and name is None:
            continue
        if said in found:
            if found[said] == candidate:
                continue
            raise ProjectError(
                f'study.models: two different models are called "{said}". Name them apart.'
            )
        found[said] = candidate
        trials.append(Trial(said, candidate))
    seeds = study.seeds[: study.quick.seeds] if quick else study.seeds
    return Plan(tuple(trials), seeds)


def name_of(candidate: Candidate, base: Candidate) -> str:
    """Return what a candidate is called: it tells one from another at a glance.

    >>> base = Candidate(hidden=(64,), features=("units",), window=28)
    >>> name_of(base, base)
    'lstm64'
    >>> name_of(replace(base, hidden=(16, 16), features=("units", "weekday")), base)
    'lstm16-16+weekday'
    >>> name_of(replace(base, structure="blocks", sparsity=0.7, aware=True, window=14), base)
    'lstm64-14d-blocks70-aware'
    """
    name = "lstm" + "-".join(map(str, candidate.hidden))
    name += "".join(f"+{feature}" for feature in candidate.features[1:])
    if candidate.window != base.window:
        name += f"-{candidate.window}d"
    if candidate.structure != "dense":
        name += f"-{candidate.structure}{100 * candidate.sparsity:.3g}"
    return name + ("-aware" if candidate.aware else "")


def parameters_of(hidden: Sequence[int], inputs: int) -> tuple[int, int]:
    """Count the parameters of a network, and those of them that are weights of an LSTM.

    >>> parameters_of((64,), 1), parameters_of((32,), 1), parameters_of((16,), 1)
    ((16961, 16640), (4385, 4224), (1169, 1088))
    """
    weights = biases = 0
    for size in hidden:
        weights += 4 * size * (inputs + size)
        biases += 4 * size
        inputs = size
    return weights + biases + inputs + 1, weights


def _grid(study: Study, base: Candidate) -> Iterator[tuple[None, Candidate]]:
    """Combine everything with everything; each dense model comes once."""
    for features, layers, hidden, aware in itertools.product(
        study.features or (base.features,), study.layers, study.hidden, study.aware
    ):
        dense = replace(base, hidden=(hidden,) * layers, features=features, aware=aware)
        for structure, share in itertools.product(study.structures, study.sparsity):
            if share:
                yield None, replace(dense, structure=structure, sparsity=share)
            else:
                yield None, dense


def _named(study: Study, base: Candidate, *, quick: bool) -> Iterator[tuple[str | None, Candidate]]:
    for model in study.models:
        epochs = model.epochs or base.epochs
        candidate = replace(
            base,
            hidden=model.hidden or base.hidden,
            features=model.features or base.features,
            structure=model.structure,
            aware=model.aware,
            epochs=min(epochs, study.quick.epochs) if quick else epochs,
        )
        yield model.name, replace(candidate, sparsity=_share(model, candidate))


def _share(model: StudyModel, candidate: Candidate) -> float:
    """Return the share of the LSTM's weights that are zero.

    Raises:
        ProjectError: more zeros are asked for than the LSTM has weights.
    """
    if model.sparsity_of == "weights":
        return model.sparsity
    inputs = sum(len(EXPANDED[feature]) for feature in candidate.features)
    parameters, weights = parameters_of(candidate.hidden, inputs)
    share = model.sparsity * parameters / weights
    if share >= 1:
        raise ProjectError(
            f"study.models: {model.sparsity:g} of {parameters:,} parameters cannot be zero: only "
            f"the {weights:,} weights of the LSTM become zero. Lower sparsity."
        )
    return share
