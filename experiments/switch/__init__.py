"""The sigmoid in the world: a joint that eases in, genes that latch, a brain that falls asleep."""

EXPERIMENTS = ("robot_joint", "flip_flop", "sleep_wake")
