"""Runs that are killed at random instants, gone on with, and compared with runs that nobody disturbed.

``python -m benchmarks.kills --kills 100 --seed 0 --out benchmarks/kills.md`` kills real processes of the command line with
SIGKILL. A kill is passed if the run, gone on with, gives the rows of the undisturbed run to the last bit, and if it leaves
no process after ten seconds, no hidden or half-written file, and no file that cannot be read.
"""
