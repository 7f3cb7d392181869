"""The tasks: for each, how data becomes batches, what is learned, and how it is judged."""
