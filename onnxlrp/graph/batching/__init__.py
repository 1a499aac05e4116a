"""The batch: found on every axis, moved to axis 0, freed from the size that the exporter wrote."""
