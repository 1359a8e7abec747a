"""Long sound, cut into overlapping windows of which the middles are kept; pure."""

from dataclasses import dataclass
from itertools import pairwise

from ...shared.timing import audio_frames, samples_of_frames


@dataclass(frozen=True, kw_only=True)
class Window:
    """Samples start:stop are encoded, and of their frames first:last are kept."""

    start: int
    stop: int
    first: int
    last: int


def cut_windows(samples: int, longest: int) -> list[Window]:
    """The windows of a wave, at most `longest` samples each: one, if it is no longer than that.

    The kept frames follow each other without gap or overlap. Each has a sixth of a window on either side of it that is
    not kept, except where the wave ends.
    """
    frames, per_window = audio_frames(samples), audio_frames(longest)
    if samples <= longest:
        return [Window(start=0, stop=samples, first=0, last=frames)]
    context = per_window // 6
    hop = per_window - 2 * context
    cuts = [0, *range(context + hop, frames - context, hop), frames]
    windows = []
    for first, last in pairwise(cuts):
        # The last window is no shorter than the others: it begins earlier instead.
        begin = max(0, min(first - context, frames - per_window))
        start, end = samples_of_frames(begin, begin + per_window)
        stop = samples if last == frames else end
        windows.append(Window(start=start, stop=stop, first=first - begin, last=last - begin))
    return windows
