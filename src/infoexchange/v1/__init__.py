"""Generated from proto/infoexchange/v1 by `make generate`; never edited by hand."""
