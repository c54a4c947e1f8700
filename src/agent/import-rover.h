/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Import of SkyWalking Rover's configuration: its file, with `${VARIABLE:default}` filled in, and where the file does
 * not have a key, the variable that Rover's own file has for it. What this agent has too becomes its key, checked as
 * its own file is; what it has not is named with the reason. The file is hostile. One thread.
 */

#include <stddef.h>
#include <stdio.h>

#include "base/cleanup.h"

/**
 * sonde_import_rover() - agent.yaml out of Rover's file
 * @name: of the text, for messages
 * @environ: "NAME=value", NULL-ended
 * @out: agent.yaml; what was not taken stands at its end as comments
 * @words: the same, and what is worth saying of the rest, a line each
 *
 * Return: 0, -EINVAL (no YAML, or none of Rover's sections: said in @words, and nothing is printed), -ENOMEM.
 */
int sonde_import_rover(const char *text, size_t len, const char *name, char *const *environ,
		       FILE *out, FILE *words) _must_check_;

/* The same from a file, "-" = standard input, and this process's environment, onto stdout and stderr. Return: exit status. */
int sonde_import_rover_file(const char *path);
