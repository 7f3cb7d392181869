"""Instruments: what a recurrent network remembers, forgets and learns."""
