"""The formats that variant data is written in: variant.json and the fields of METADATA."""
