"""Rewards that see clean data only and look for the backdoor all the same.

Each is registered by name in `prune_env.reward.REWARDS`; importing this package costs no torch.
"""
