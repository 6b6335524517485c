"""Data that anatomark makes itself (phantoms) or brings in from public layouts (importers)."""
