"""What CI systems are given: workflows that need no change when the matrix changes, and the end of
their runs, where the wheels of all jobs come together.

Whatever a workflow takes from a project (paths, names, commands) is data in it: a scalar that nothing
breaks out of, never a part of a shell line.
"""
