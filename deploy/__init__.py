"""The meshtwin command."""
