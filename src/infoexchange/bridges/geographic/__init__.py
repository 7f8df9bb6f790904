"""Geographic files: GeoJSON, the feature JSON of ArcGIS, and the tables of IMSMA Core.

One engine for the three, because they carry the same columns: which column is which field stands in the forms of
`infoexchange.catalogue.maps`, one for each message type, and an operator can give forms of their own. What differs is
where the shape stands: in a geometry, or in a column as well-known text.
"""
