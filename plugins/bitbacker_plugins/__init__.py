"""The reference set: ordinary plugins that come in at the same door as a stranger's."""
