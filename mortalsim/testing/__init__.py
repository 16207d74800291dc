"""Conformance checks to run on your own device, chip or learner; each raises `NotConforming` with what is wrong."""

from mortalsim.boards import RemoteChip
from mortalsim.testing.chips import check_chip
from mortalsim.testing.devices import check_device
from mortalsim.testing.learners import check_learner
from mortalsim.testing.proxies import NotConforming, SeamOnly, WithoutPort

__all__ = ["NotConforming", "RemoteChip", "SeamOnly", "WithoutPort", "check_chip", "check_device", "check_learner"]
