"""Other methods under lvedge's conditions: the same folds, slices, views, budget and scores."""
