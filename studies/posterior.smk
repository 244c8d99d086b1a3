# The fit that every study of the jets' runs reads: a study's Snakefile includes this after its own
# rule. Runs above 1.9 nat have hardly left guessing (ln 10 = 2.30), where no power law holds.

import sys
from pathlib import Path

BIN = Path(sys.executable).parent


if not workflow.is_rule("posterior"):  # another study may have included it

    rule posterior:
        input:
            expand("studies/jets/records/{table}.parquet", table=["runs", "working_points"]),
        output:
            "build/studies/posterior.nc",
        threads: 2
        shell:
            "{BIN}/isoflop fit studies/jets/records -o {output} --loss-below 1.9 --quiet"
