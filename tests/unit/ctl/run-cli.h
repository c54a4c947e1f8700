/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A command of `sonde` run in the test's own process, its streams in memory. */

#include "sonde-test.h"

#include <stdlib.h>

#include "ctl/cli.h"

struct run {
	char *out, *err; /* owned */
	int status;
};

static inline void run_done(struct run *r)
{
	free(r->out);
	free(r->err);
}
#define _cleanup_run_ _cleanup_(run_done)

#define ARGS_MAX 16

static inline struct run run_cli(const char *const *args)
{
	char *argv[ARGS_MAX + 1] = {(char *)"sonde"};
	struct sonde_cli cli = {.program_dir = ""};
	struct run r = {0};
	size_t n_out, n_err;
	int argc = 1;

	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)args[argc - 1];
	cli.out = open_memstream(&r.out, &n_out);
	cli.err = open_memstream(&r.err, &n_err);
	assert_non_null(cli.out);
	assert_non_null(cli.err);
	r.status = sonde_cli_main(&cli, argc, argv);
	assert_ok(fclose(cli.out));
	assert_ok(fclose(cli.err));
	return r;
}
#define RUN(...) run_cli((const char *const[ARGS_MAX]){__VA_ARGS__, NULL})
