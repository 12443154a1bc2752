"""meshtwin: a distributed emulator of Tenstorrent Blackhole device meshes."""

__version__ = "0.1.0"
