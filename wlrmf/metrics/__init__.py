"""How good predictions and recommended lists are: rmse, mae, ranking metrics and AUC.

For a user with a list of items, best first, and R relevant items, where rel(p) is 1 if the item at
place p (from 1) is relevant, else 0, and hits(k) = Σ_{p≤k} rel(p):

| name | formula at cut-off k |
|---|---|
| precision | hits(k) / k, for lists shorter than k too |
| recall | hits(k) / R |
| map | Σ_{p≤k} rel(p) · hits(p)/p, divided by min(k, R) |
| ndcg | DCG / ideal DCG, where DCG = Σ_{p≤k} gain(p) / log2(p + 1) |
| hit | 1 if hits(k) > 0, else 0 |
| mrr | 1 / place of the first relevant item if that is at most k, else 0 |

Gains are 1, or those given, as they are. The ideal DCG is that of the R gains in falling order,
cut off at k too. Each metric is the mean over the users with R > 0. Of all lists together, those of
users without relevant items too: coverage = number of items in some list up to k / n_items.

What other packages call the same, from their sources:

| package | differs in |
|---|---|
| implicit | precision = Σ_u hits / Σ_u min(k, R), over all users at once; its auc sees k places |
| LensKit | recall / min(k, R); precision / min(k, length); map / min(k, length, R) |
| RecTools | map / R, or / k on request; the ideal DCG has k relevant items even if R < k |
| Spark | users without relevant items count as 0; gains g enter ndcg as 2^g - 1 |
| recometrics | map / R, or / min(k, R) on request |
| scikit-learn | average_precision_score sums over all places and divides by R |

References: C. D. Manning, P. Raghavan and H. Schütze, Introduction to Information Retrieval, 2008,
section 8.4, doi:10.1017/CBO9780511809071; K. Järvelin and J. Kekäläinen, Cumulated gain-based
evaluation of IR techniques, ACM TOIS 20, 2002, section 2, doi:10.1145/582415.582418.
"""

from .curve import AucScores, auc
from .lists import RankingScores, ranking
from .pointwise import mae, rmse

__all__ = ["AucScores", "RankingScores", "auc", "mae", "ranking", "rmse"]
