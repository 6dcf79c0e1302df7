"""Does Attune learn the person? `python launch.py bench learning`.

Simulated people (benchmarks/people) chat with a real Attune over HTTP, rate what it says, and press "Learn now"; then
their hidden utility judges what the live version says to prompts that nobody rated, trained on or used in a gate,
beside the base and beside other ways to use the same feedback. The people, and some of what they care for, differ from
those that anything was chosen with.

An update takes some minutes and the whole table hours. Everything is kept under docs/benchmarks/learning as it is made:
a run that was interrupted goes on where it was, and prints what there is. Another machine makes what nobody has begun.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.learning.arms import ARMS
from benchmarks.learning.ground import Ground
from benchmarks.learning.story import Story
from benchmarks.learning.table import MAIN, table
from benchmarks.results import Result
from data.home import Home

# Pieces of feedback after each of which the person presses "Learn now"; the first people are watched on the way.
WATCHED, OTHERS = (20, 50, 100, 200), (100,)
PEOPLE, WATCHED_PEOPLE = 6, 2
COMPARED_PEOPLE = (4, 5)  # with the slower arms, too; not the watched ones, whose story is long as it is


def main(options: argparse.Namespace) -> Result:
    started = time.monotonic()
    ground = Ground(Home.locate(options.home).create(), options.model or "embedded", options.quick, options.data)
    stories = [
        Story(ground, number, schedule(number, options.quick)) for number in range(1 if options.quick else PEOPLE)
    ]
    kept = [story for story in stories if story.elsewhere]
    if kept:
        people = ", ".join(str(story.number) for story in kept)
        print(f"As another machine made them: people {people}. To begin anew, delete their folders in {ground.folder}.")
    try:
        for step in plan([story for story in stories if story not in kept]):
            step()
    except KeyboardInterrupt:
        print("\nInterrupted: the same command goes on from here. What there is so far:")
    return table(ground, stories, time.monotonic() - started)


def plan(stories: Sequence[Story]) -> Iterator[Callable[[], None]]:
    """What is to be done, person by person, for what is left of one is lost with their home; short stories first.

    Arms come before a story goes on: they use its evidence as it is.
    """
    for story in sorted(stories, key=lambda story: len(story.schedule)):  # one update each before four each
        for pieces in story.schedule:
            if pieces <= MAIN:
                yield partial(story.advance, pieces)
        for name in ("best_of_4", "warm_start"):
            yield partial(arm, story, name)
        yield partial(story.follow, _at(story))
        if story.number in COMPARED_PEOPLE:
            for name in ("true_utility", "dpo", "notes", "length", "reinforce"):
                yield partial(arm, story, name)
        for pieces in story.schedule:
            yield partial(story.advance, pieces)


def arm(story: Story, name: str) -> None:
    story.keep(f"{name}@{_at(story)}", lambda: ARMS[name](story))


def _at(story: Story) -> int:
    """The pieces at which this person's arms are compared."""
    return max(pieces for pieces in story.schedule if pieces <= MAIN)


def schedule(number: int, quick: bool) -> Sequence[int]:
    if quick:
        return (20,)
    return WATCHED if number < WATCHED_PEOPLE else OTHERS
