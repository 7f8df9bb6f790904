"""Fuzzing: every reader of outside bytes, given spoilt objects, answers with a typed error or an object.

`python -m fuzz` runs the targets for as long as asked, led by coverage (atheris); `test_fuzz` gives each a moment.
"""
