/* SPDX-License-Identifier: Apache-2.0 */
/* sonde mal: rule files checked and tried without a server */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/mal.h"
#include "mal/vector.h"

/* --- eval --vectors --- */

/* Reads up to the line feed. 1: a line, 0: the end, -EMSGSIZE: a line that was too long and is skipped. */
static int read_line(FILE *in, struct sonde_buf *line)
{
	bool too_long = false;
	int c, r;

	sonde_buf_reset(line);
	while ((c = getc_unlocked(in)) != EOF && c != '\n') {
		char byte = (char)c;

		if (too_long)
			continue;
		r = sonde_buf_append(line, &byte, 1);
		if (r < 0 && r != -EMSGSIZE)
			return r;
		too_long = r < 0;
	}
	if (ferror(in))
		return -EIO;
	if (too_long)
		return -EMSGSIZE;
	return c == '\n' || line->len > 0;
}

/* An answer a line, written at once: what asks may wait for it. */
static int answer_vectors(struct sonde_cli *cli)
{
	_cleanup_buf_ struct sonde_buf line = SONDE_BUF_INIT(SONDE_MAL_VECTOR_BYTES);
	_cleanup_buf_ struct sonde_buf out = SONDE_BUF_INIT(SONDE_MAL_ANSWER_BYTES);
	int r;

	while ((r = read_line(stdin, &line)) != 0) {
		sonde_buf_reset(&out);
		if (r == -EMSGSIZE)
			r = sonde_mal_vector_refuse("a line longer than 8 MiB", &out);
		else if (r > 0)
			r = sonde_mal_vector_answer(sonde_buf_str(&line), line.len, &out);
		if (r < 0)
			return sonde_cli_broken(cli, r);
		(void)fwrite(out.data, 1, out.len, cli->out);
		if (fflush(cli->out) != 0)
			return SONDE_CLI_INTERNAL;
	}
	return SONDE_CLI_OK;
}

int sonde_cli_mal_eval(struct sonde_cli *cli)
{
	const char *input = sonde_cli_flag(cli, "input");
	bool vectors = sonde_cli_flag(cli, "vectors");

	if (vectors && !input && cli->n_operands == 0)
		return answer_vectors(cli);
	if (!vectors && input && cli->n_operands == 1)
		return sonde_cli_mal_eval_file(cli, input);
	return sonde_cli_fail(cli, SONDE_CLI_USAGE,
			      "expected a rule file and --input SAMPLES, or --vectors alone");
}
