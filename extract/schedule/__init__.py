"""Scheduling: which utterances are left, in which chunks, on which workers, and what failed.

In the order of a run: `stream_spec.py` (config hash), `pending.py` (what is left), `plan.py` (chunks), `execute.py`
(workers), `dispatch.py` (deadlines, bisection), `worker.py` (tasks), `chunk.py` (one chunk into one shard),
`progress.py`, `failures.py` (failures.csv), `summary.py`. `estimate.py` is the dry run. Start with `execute.py`.
"""
