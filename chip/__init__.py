"""One chip: its cores, memory, number formats, ops and clock."""
