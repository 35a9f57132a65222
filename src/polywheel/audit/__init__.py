"""The audit of wheels: is the machine code what the label says?

:mod:`~polywheel.audit.binaries` reads ELF, Mach-O, and PE files, the other modules check them, and
:mod:`~polywheel.audit.findings` holds the results.
"""
