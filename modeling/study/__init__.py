"""`gliolake study run`: the experiments of a TOML file; the published study is shipped."""
