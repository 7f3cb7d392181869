"""Readers: one file a format, each from documents to rows, of which one at a time is in memory."""
