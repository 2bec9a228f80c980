"""One function per use case: options in, results out, and no word to a terminal.

`access` leads from what the user said to an open repository.
What deletes comes in two steps: a plan that can be shown, and its execution.
"""
