"""Pages: reports as one HTML file that needs nothing else: no script, no picture, no font, no network.

Pages are built as a tree of elements and written by the standard library, so that no text from a log, whoever chose it,
can become markup.
"""
