"""Training: a loop for every learning rule, that can be put down inside an epoch and taken up to the same bits."""

from mortalsim.training.checkpoint import Checkpoint
from mortalsim.training.loop import Hooks, train
from mortalsim.training.on_paper import PaperChip, head_start
from mortalsim.training.record import History, Record, Result
from mortalsim.training.scoring import confusion, error_of, error_rate, recall_of, scores
from mortalsim.training.session import Session, TrainingData

__all__ = [
    "Checkpoint",
    "History",
    "Hooks",
    "PaperChip",
    "Record",
    "Result",
    "Session",
    "TrainingData",
    "confusion",
    "error_of",
    "error_rate",
    "head_start",
    "recall_of",
    "scores",
    "train",
]
