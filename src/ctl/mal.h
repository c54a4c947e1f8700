/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The two halves of `sonde mal eval`. */

#include "ctl/cli.h"

/* The operand is a rule file, @input the samples' file, "-" is stdin. An exit status. */
int sonde_cli_mal_eval_file(struct sonde_cli *cli, const char *input);
