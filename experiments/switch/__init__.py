"""The sigmoid in the world: a joint that eases in, two populations that form a switch, a brain that
falls asleep."""

EXPERIMENTS = ("robot_joint", "flip_flop", "sleep_wake")
