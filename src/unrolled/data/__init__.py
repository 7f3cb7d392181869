"""Text to token ids: vocabularies, corpora, memory-mapped token files and training windows."""
