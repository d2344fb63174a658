"""What claims are judged by: numbers per seed, worked out from a study's curves.

From all that came back, from what came back with the model still of use, and where the attack taught a neutral skill
too, from how much more came back than of that.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from undo.report.results import Results
from undo.study.scores import constrained_case, within_noise, worst_case

BySeed = dict[int, float]


def brought_back(results: Results, model: str, step: int | None = None, skill: str = "forget") -> BySeed:
    """What the first attack brings back within so many steps (all of them by default), at worst over its variants.

    By seed; larger is more relearnt: a loss counts with a minus sign, and one above that of guessing as guessing.
    """
    higher = results.higher_is_better(skill)
    seeds = results.curves_of(results.attacks()[0], model, skill)
    worst = {seed: worst_case(curves, skill, _at(results, step), higher) for seed, curves in seeds.items()}
    return _more_is_worse(results, worst, higher)


def brought_back_to_use(results: Results, model: str, step: int | None = None) -> BySeed:
    """The same by an adversary that has to keep the model useful, under the utility constraint."""
    higher = results.higher_is_better("forget")
    own, base = ({row.seed: row for row in results.by_id.get(id, [])} for id in (model, "base"))
    seeds = results.curves_of(results.attacks()[0], model)
    before = {seed: [rows[seed] for rows in (own, base) if seed in rows] for seed in own}
    worst = {
        seed: constrained_case(curves, before[seed], _at(results, step), higher)
        for seed, curves in seeds.items()
        if seed in before
    }
    return _more_is_worse(results, worst, higher)


def _more_is_worse(results: Results, worst: BySeed, higher: bool) -> BySeed:
    return worst if higher else {seed: -min(loss, _guessing(results)) for seed, loss in worst.items()}


def _at(results: Results, step: int | None) -> int:
    return results.budgets(results.attacks()[0])[-1] if step is None else step


def _guessing(results: Results) -> float:
    """Nats per token of a model that calls every token equally likely; of a given model's tokens nothing is known."""
    tokens = None if results.pretrained else results.recipe["data"].get("vocab_size")
    return math.log(tokens) if tokens else math.inf


@dataclass(frozen=True)
class View:
    """A study and what it is asked about: what came back, what of it with the model still of use, specific recovery."""

    results: Results
    of: Literal["all", "useful", "specific"] = "all"

    def recovered(self, model: str, step: int | None) -> BySeed:
        """By seed; specific recovery in the seeds in which both skills were attacked."""
        if self.of == "useful":
            return brought_back_to_use(self.results, model, step)
        back = brought_back(self.results, model, step)
        if self.of == "all":
            return back
        neutral = brought_back(self.results, model, step, "neutral")
        return {seed: value - neutral[seed] for seed, value in back.items() if seed in neutral}


@dataclass(frozen=True)
class Less:
    """How much less of the skill comes back to one model than to another.

    Here and below only seeds count in which the first one was taught: what has learnt little relearns little.
    """

    model: str
    than: str
    step: int | None = None

    def values(self, view: View) -> list[float]:
        """By seed."""
        one, other = view.recovered(self.model, self.step), view.recovered(self.than, self.step)
        return [other[seed] - one[seed] for seed in _shared(view, self.model, one, other)]


@dataclass(frozen=True)
class Kept:
    """How much more retain one model has than another where the attack brings back most of each."""

    model: str
    than: str
    step: int

    def values(self, view: View) -> list[float]:
        """By seed; of other views than the usual one it says nothing."""
        if view.of != "all":
            return []
        sign = 1 if view.results.higher_is_better("retain") else -1
        one, other = (self._retain(view.results, model) for model in (self.model, self.than))
        return [sign * (one[seed] - other[seed]) for seed in _shared(view, self.model, one, other)]

    def _retain(self, results: Results, model: str) -> BySeed:
        seeds = results.curves_of(results.attacks()[0], model)
        return {seed: results.worst_point(curves, self.step).retain for seed, curves in seeds.items()}


@dataclass(frozen=True)
class Share:
    """Where a model's recovery lies between two others': 0 the floor's, 1 the ceiling's; or what it is short of 1."""

    model: str
    floor: str
    ceiling: str
    step: int | None = None
    short: bool = False

    def values(self, view: View) -> list[float]:
        """By seed; nothing where floor and ceiling cannot be told apart."""
        one, low, high = (view.recovered(id, self.step) for id in (self.model, self.floor, self.ceiling))
        seeds = _shared(view, self.model, one, low, high)
        spans = [low[seed] - high[seed] for seed in seeds]
        error = view.results.metrics["forget"].standard_error
        if not seeds or within_noise(spans, error):
            return []
        shares = [(low[seed] - one[seed]) / span for seed, span in zip(seeds, spans, strict=True)]
        return [1 - share for share in shares] if self.short else shares


@dataclass(frozen=True)
class Correlation:
    """How something known of models goes with how little they relearn: 1 in step with it, -1 against it.

    Over those that were taught in a seed, if they are so many `at_least`.
    """

    known: dict[str, BySeed]
    ranks: bool
    at_least: int

    def values(self, view: View) -> list[float]:
        """By seed; of ranks, or of the values themselves."""
        from scipy.stats import pearsonr, spearmanr  # take a second to import

        correlation = spearmanr if self.ranks else pearsonr
        back = {id: view.recovered(id, None) for id in self.known}
        taught = {id: _shared(view, id, back[id], self.known[id]) for id in self.known}
        found = []
        for seed in sorted(set().union(*taught.values())):
            models = [id for id in self.known if seed in taught[id]]
            pair = [self.known[id][seed] for id in models], [-back[id][seed] for id in models]
            vary = all(len(set(values)) > 1 for values in pair)  # else nothing goes with anything
            if vary and len(models) >= self.at_least:
                coefficient: Any = correlation(*pair)[0]  # its stubs know no number
                found.append(float(coefficient))
        return found


def _shared(view: View, model: str, *found: BySeed) -> list[int]:
    """Seeds in which there is a value of everything, and in which the model was taught."""
    return sorted(view.results.seeds_at_goal(model).intersection(*found))


Measure = Less | Kept | Share | Correlation
