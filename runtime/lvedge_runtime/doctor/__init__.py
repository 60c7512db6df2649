"""The doctor: what a machine has, what of it will be used, what is missing and the command that brings it."""
