"""Spark's ALS: ridge by count, always; confidence 1 + alpha * value in the implicit model.

The ratings are a cached data frame before the clock runs; factors are collected within it.
"""

import tempfile

SETTINGS = {"cholesky": {}}
DTYPE = "float32"


def cannot(spec):
    if spec.kind == "dense":
        return "takes ratings, not arrays"
    return "" if spec.scaled else "its ridge is by count"


def prepare(case, threads):
    import pandas as pd
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{threads}]")
        .config("spark.driver.memory", "8g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", str(threads))
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    # Without it, two dozen iterations overflow the stack: each hangs on to the one before.
    session.sparkContext.setCheckpointDir(tempfile.mkdtemp())
    Y = case.confidence_minus_one() if case.spec.kind == "implicit" else case.Y
    Y = Y.tocoo()
    table = pd.DataFrame({"user": Y.row, "item": Y.col, "rating": Y.data})
    frame = session.createDataFrame(table).repartition(threads).cache()
    frame.count()
    return frame


def fit(data, case, rank, iterations, threads, seed):
    import numpy as np
    from pyspark.ml.recommendation import ALS

    model = ALS(
        rank=rank,
        maxIter=iterations,
        regParam=case.spec.reg,
        implicitPrefs=case.spec.kind == "implicit",
        alpha=1.0,
        numUserBlocks=threads,
        numItemBlocks=threads,
        seed=seed,
    ).fit(data)
    factors = []
    for frame, size in zip((model.userFactors, model.itemFactors), case.Y.shape, strict=True):
        rows = frame.toPandas()
        factor = np.zeros((size, rank), np.float32)  # who has no ratings is not in its tables
        factor[rows["id"]] = np.stack(rows["features"])
        factors.append(factor)
    return factors
