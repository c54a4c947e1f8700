/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A config file of any bytes is taken or refused with words; one that was taken
 * is dumped as a file that gives the same dump again. Also as a task file.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/spec.h"
#include "unit/config/fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *dumped(const void *config)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	if (!out)
		return NULL;
	if (sonde_config_dump(&fixture_spec, config, out) < 0)
		abort();
	(void)fclose(out);
	return text;
}

static void read_config(const char *text, size_t size)
{
	_cleanup_config_ void *config = NULL;
	_cleanup_config_ void *again = NULL;
	_cleanup_free_ char *error = NULL, *first = NULL, *second = NULL;
	int r;

	r = sonde_config_parse(&fixture_spec, text, size, "fuzz", &config, &error);
	if (r == -EINVAL && (!error || !*error))
		abort();
	if (r < 0)
		return;
	first = dumped(config);
	/* "***" is no secret, but as good a text as any */
	if (first &&
	    sonde_config_parse(&fixture_spec, first, strlen(first), "dump", &again, &error) < 0)
		abort();
	second = again ? dumped(again) : NULL;
	if (first && second && strcmp(first, second) != 0)
		abort();
}

static void read_task(const char *text, size_t size)
{
	_cleanup_(sonde_spec_freep) struct sonde_spec *spec = NULL;
	_cleanup_free_ char *error = NULL;
	json_t *json;

	if (sonde_spec_parse(text, size, "fuzz", &spec, &error) < 0)
		return;
	if (sonde_spec_json(spec, &json) == 0)
		json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* not ended by a NUL: the length is all that says where it ends */
	read_config((const char *)data, size);
	read_task((const char *)data, size);
	return 0;
}
