"""Each speed claim beside its peers, in one run: `make bench`. Nothing here is part of the library.

Importing needs numpy alone; a contender imports what it measures only when it is set up, in a process of its own.
"""
