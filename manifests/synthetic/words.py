"""The words of the synthetic corpus: what people say may hint at the emotion, at another one, or at none."""

from collections.abc import Mapping, Sequence

import numpy as np

NEUTRAL = (
    "I put the letter on the table this morning.",
    "They said the train would leave at nine.",
    "You never told me which door it was.",
    "The blue one is still in the kitchen.",
    "We could walk down to the harbour again.",
    "Somebody called while you were out.",
    "It has been raining since Tuesday.",
    "Then ask them for the other form.",
    "He will be here before the weekend.",
    "I thought you had the keys.",
    "Leave it where it is for now.",
    "That is what the lady at the desk said.",
)
TELLING: Mapping[str, Sequence[str]] = {
    "neu": (
        "Well, it is the usual form, is it not?",
        "The usual desk opens at nine.",
        "Well, then we take the other train.",
        "It is on the second floor, as usual.",
    ),
    "hap": (
        "That is wonderful, I am so glad!",
        "I am so glad that you came.",
        "What a wonderful morning that was!",
        "We won, can you believe it?",
    ),
    "sad": (
        "I miss her so much.",
        "I am sorry, I cannot do this any more.",
        "She is gone, and I miss her.",
        "I am sorry that it came to this.",
    ),
    "ang": (
        "Stop it, I have had enough of this.",
        "I have told you enough times!",
        "Stop talking to me like that.",
        "How dare you, that was mine!",
    ),
}
"""Sentences by class; any other emotion is said in neutral ones."""

TAGS = ("[LAUGHTER]", "[BREATHING]")
TELLING_SHARE = 0.4
"""Share of turns whose words tell the emotion."""

TAG_SHARE = 0.06
"""Share of turns with a tag, of which a third consists of nothing else."""


def draw_sentence(emotion: str, rng: np.random.Generator) -> str:
    """A sentence for an emotion of MOODS (`script.py`): a telling one, or a neutral one."""
    telling = TELLING.get("hap" if emotion == "exc" else emotion, NEUTRAL)
    sentences = telling if rng.random() < TELLING_SHARE else NEUTRAL
    return sentences[int(rng.integers(len(sentences)))]


def with_tags(sentence: str, rng: np.random.Generator) -> str:
    """The sentence, sometimes with a tag of a sound, or the tag alone."""
    kind, tag = rng.random() / TAG_SHARE, TAGS[int(rng.integers(len(TAGS)))]
    return sentence if kind > 1 else tag if kind < 1 / 3 else f"{tag} {sentence}"
