"""The time model beside measured times: rows, residuals, the fit of its free constants, bands."""
