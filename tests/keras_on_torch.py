"""Has Keras run on torch, and write nothing to the user's home: import it before Keras is."""

import atexit
import os
import tempfile

# Keras reads both when it is imported, and writes a file where the second points.
home = tempfile.TemporaryDirectory(prefix="keras-")
atexit.register(home.cleanup)
os.environ.update(KERAS_BACKEND="torch", KERAS_HOME=home.name)
