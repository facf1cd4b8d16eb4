"""Grids of experiments: attacks x policies x protocols x seeds, a result file a cell.

`cell` says what one cell is, `workbench` runs it, `config` reads a grid, `store` keeps results on
disk, `runner` and `worker` are the processes.
"""
