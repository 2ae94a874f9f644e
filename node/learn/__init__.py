"""The offline room: data sets, training, evaluation, calibration, and the model folder that comes out of it."""
