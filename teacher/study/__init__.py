"""Studies of what depth, width and batch size do: a grid of teacher runs, what is missing of it, tables and plots.

    train-teacher study depth --grid 4 16 64 --seeds 3 --task franka_reach --updates 6000
    train-teacher study batch --grid 128 512 --depths 4 16 --ray auto        # on a Ray cluster, shoal[sweep]

`grid` says which runs a study is made of, `runner` runs those that are missing, `analysis` turns their summaries into
numbers, `plots` draws them.
"""
