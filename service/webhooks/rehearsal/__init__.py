"""Test events: samples of every type, and the faults that a receiver has to cope with."""
