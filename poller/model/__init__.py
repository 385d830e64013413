"""THE NOUNS: frozen values that the rest of the program hands around.

Belongs here: what a thing is.
Does not belong here: what to do with it (core/), how to get it (sources/, targets/), where it was written (settings/).
Everyone may import it; it imports nothing of ours.
"""
