"""How far from its training a policy file still works: sweeps, boundaries, heat maps, go or no-go.

`config` says what is asked, `episodes` flies the exported graph in native MuJoCo, `points` decides how many episodes an
answer needs and keeps them, `search` looks for boundaries, `report` and `plots` show them.
"""
