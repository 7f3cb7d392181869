"""The tasks: for each, how data becomes batches, what is learned, and how it is judged."""

from unrolled.tasks.language_model import fit_text

__all__ = ["fit_text"]
