"""The stages of a run. The modules of this folder are the Prefect tasks; the folders below are what they draw on."""
