"""What is wrong with a data set, which priors suit it, and a repaired copy: the work behind `edgessd doctor`."""

from edgessd.datasets.doctor.check import Checkup, examine
from edgessd.datasets.doctor.prior_fit import PriorReport, best_overlaps, fit_priors, propose_priors
from edgessd.datasets.doctor.repair import RepairReport, repair

__all__ = [
    "Checkup",
    "PriorReport",
    "RepairReport",
    "best_overlaps",
    "examine",
    "fit_priors",
    "propose_priors",
    "repair",
]
