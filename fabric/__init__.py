"""Ethernet between chips: boxes, routes, links and transports."""
