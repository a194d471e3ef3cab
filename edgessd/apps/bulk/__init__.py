"""Detection in more pictures than one process wants: Ray Data spreads them, a Parquet data set takes the answers.

>>> from edgessd.apps.bulk import detect_many
>>> detect_many("pictures/", "found/", workers=8).pictures
20000
"""

from edgessd.apps.bulk.job import Progress, Summary, detect_many

__all__ = ["Progress", "Summary", "detect_many"]
