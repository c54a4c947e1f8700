/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON as the server sends it, and what a view makes of it. */

#include "sonde-test.h"

#include <stdio.h>

#include "ctl/view.h"

/* FIXTURES_DIR/@name.json; the caller's. */
static inline json_t *fixture(const char *name)
{
	char path[512];
	json_error_t error;
	json_t *json;

	(void)snprintf(path, sizeof(path), "%s/%s.json", FIXTURES_DIR, name);
	json = json_load_file(path, 0, &error);
	if (!json)
		fail_msg("%s: %s", path, error.text);
	return json;
}

/* What @view prints of @json; @output: SONDE_CLI_TABLE or another. The caller's. */
static inline char *shown(int (*view)(struct sonde_cli *, const json_t *), const json_t *json,
			  int output)
{
	struct sonde_cli_settings settings = {.utc = true, .output = output};
	struct sonde_cli cli = {.settings = &settings, .headers = true, .headed = true};
	char *text = NULL;
	size_t n;

	cli.out = open_memstream(&text, &n);
	assert_non_null(cli.out);
	cli.err = stderr;
	assert_int_equal(view(&cli, json), 0);
	assert_ok(fclose(cli.out));
	return text;
}
