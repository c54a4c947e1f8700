/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Progress on stderr: two lines that are drawn over on a terminal, else one
 * line a state change. Nothing with --quiet.
 */

#include <jansson.h>

#include "base/buf.h"
#include "ctl/cli.h"

struct sonde_progress {
	struct sonde_cli *cli;
	bool drawn;	    /* two lines stand above the cursor */
	json_t *told;	    /* rows of the task's time line; owned, NULL: none */
	const char *ctrl_c; /* what Ctrl-C does, for the line's end */
};

/* @topology and @ledger may be NULL: not known yet. */
void sonde_progress_show(struct sonde_progress *p, const json_t *task, const json_t *topology,
			 const json_t *ledger, int64_t now_wall_ms);

/* Takes the two lines away, so that what follows stands alone. */
void sonde_progress_clear(struct sonde_progress *p);

/* Forgets what was told. */
void sonde_progress_done(struct sonde_progress *p);

/* The two lines, escaped; @bar: columns of the bar, 0 = none. Return: 0, -ENOMEM, -EMSGSIZE. */
int sonde_progress_line(const json_t *task, int64_t now_wall_ms, unsigned int bar,
			struct sonde_buf *ret);
int sonde_progress_numbers(const json_t *task, const json_t *topology, const json_t *ledger,
			   int64_t now_wall_ms, struct sonde_buf *ret);
