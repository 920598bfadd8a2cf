"""Recommendation: ratings by ids in, predictions and ranked lists by ids out.

    from wlrmf.recommender import Recommender

    model = Recommender(rank=32).fit("ratings.csv", value="rating")
    model.recommend("alice", 10)

Data frames, csv and parquet files need pyarrow, the extra ``wlrmf[recommender]``.
"""

from .answers import Vectors
from .explaining import Explanation
from .lists import RankedLists
from .recommender import Recommender

__all__ = ["Explanation", "RankedLists", "Recommender", "Vectors"]
