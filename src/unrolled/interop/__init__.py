"""Other forms for models: written for and read from other software."""
