"""Tables: rows of spreadsheets, as CSV and as XLSX, to messages and back.

`table` holds what all have in common, `comma` and `spreadsheet` the two kinds of file, `columns` what a cell can say.
Each table is a module of its own: attacks on ships, seizures of drugs, risk education. Columns are found by name; a
cell that cannot be understood never stops the file: it is noted, and the rest of its row counts.
"""
