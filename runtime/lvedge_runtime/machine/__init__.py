"""The machine under lvedge: its sensors, its power mode, whether it holds itself back."""
