"""``taskctl import``: write a taskd.toml for what another program ran until now."""
