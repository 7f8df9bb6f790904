"""Generated from proto/infoexchange/catalogue/v1 by `make generate`; never edited by hand."""
