/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Problem: why a request is refused, in the terms of RFC 9457 with the field that is wrong. A plain value. */

#include <jansson.h>

#include "base/cleanup.h"

struct sonde_problem {
	int status;	  /* HTTP: 400, 404, … */
	char field[96];	  /* "targets[2].pid"; "" where no single field is to blame */
	char detail[320]; /* words that a person can act on */
};

/* Fills @p and returns -EINVAL, so that a check can `return sonde_problem_set(…)`. @field may be NULL. */
int sonde_problem_set(struct sonde_problem *p, int status, const char *field, const char *fmt, ...)
	_printf_(4, 5);

/* The body of application/problem+json; NULL when memory ran out. */
json_t *sonde_problem_json(const struct sonde_problem *p);

/* "Bad Request"; "Error" for a status that we do not use. */
const char *sonde_problem_title(int status);
