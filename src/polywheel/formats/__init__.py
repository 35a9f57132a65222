"""The file formats of the standards: variant.json, METADATA fields, and the order of variants."""
