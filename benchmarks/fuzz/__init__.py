"""Generated inputs that must end in an answer or in one sentence: never in a traceback, a hang, or memory without end.

``python -m benchmarks.fuzz --inputs 100000 --seed 0 --out benchmarks/fuzz.md``. Each kind of input is one file here with a
class `Kind`; an input is made from its number and the seed alone, so ``--kind designs --only 1234`` does one again.
"""
