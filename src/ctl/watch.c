/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/watch.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "ctl/output.h"
#include "ctl/term.h"

#define EVERY_NS (2 * SONDE_NS_PER_S)
#define EVERY_MIN_NS (500 * SONDE_NS_PER_MS)
#define EVERY_MAX_NS (60 * SONDE_NS_PER_S)
#define AWAY_MAX 30 /* looks in a row without an answer */

int sonde_cli_watch_every(struct sonde_cli *cli, uint64_t *ret_ns)
{
	const char *text = sonde_cli_flag(cli, "every");
	uint64_t ns = EVERY_NS;

	if (text &&
	    (sonde_parse_duration_ns(text, &ns) < 0 || ns < EVERY_MIN_NS || ns > EVERY_MAX_NS))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--every: expected a duration from 500ms to 1m, got '%.64s'",
				      text);
	*ret_ns = ns;
	return 0;
}

/* What a run of the command printed, on stdout and stderr. */
struct look {
	char *text, *words; /* owned */
	int status;
};

static void look_done(struct look *l)
{
	free(l->text);
	free(l->words);
}
#define _cleanup_look_ _cleanup_(look_done)

/* Runs the command with what it prints in memory. */
static void look(struct sonde_cli *cli, struct look *ret)
{
	FILE *out = cli->out, *err = cli->err;
	size_t n, n_words;

	cli->out = open_memstream(&ret->text, &n);
	cli->err = open_memstream(&ret->words, &n_words);
	cli->headed = cli->away = false;
	if (cli->out && cli->err)
		ret->status = cli->command->run(cli);
	else
		ret->status = SONDE_CLI_INTERNAL;
	if ((!cli->out || fclose(cli->out) != 0) && ret->status == SONDE_CLI_OK)
		ret->status = SONDE_CLI_INTERNAL;
	if (cli->err)
		(void)fclose(cli->err);
	cli->out = out;
	cli->err = err;
}

/* What the terminal had when it was asked last; a window may change at any time. */
static void terminal_size(unsigned int *ret_rows, unsigned int *ret_columns)
{
	struct winsize size = {0};
	bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;

	*ret_rows = known && size.ws_row >= 2 ? size.ws_row : 24;
	*ret_columns = known && size.ws_col > 0 ? size.ws_col : 80;
}

/* Without the colours, which are the only escapes that we print. */
static size_t columns_of(const char *line, size_t len)
{
	_cleanup_free_ char *plain = malloc(len + 1);
	size_t n = 0;

	if (!plain)
		return len;
	for (size_t i = 0; i < len; i++) {
		if (line[i] == '\033')
			i += strcspn(line + i, "m\n");
		else
			plain[n++] = line[i];
	}
	plain[n] = '\0';
	return sonde_term_width(plain);
}

/*
 * As many lines of @text as fit into @rows, each cleared behind its end; one that is wider than the window takes
 * several rows. Return: how many did not fit.
 */
static unsigned int draw_lines(struct sonde_cli *cli, const char *text, unsigned int rows,
			       unsigned int columns)
{
	unsigned int more = 0;
	size_t row = 0;

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n"), width = columns_of(p, n);
		size_t takes = width == 0 ? 1 : (width + columns - 1) / columns;
		/* behind a full row the cursor still stands on its last letter, which clearing would take */
		bool full = width > 0 && width % columns == 0;

		if (more > 0 || row + takes > rows)
			more++;
		else
			(void)fprintf(cli->out, "%.*s%s\n", (int)n, p, full ? "" : "\033[K");
		row += takes;
		p += n + (p[n] == '\n');
	}
	return more;
}

/* From the screen's top; what does not fit is counted, not scrolled. @words: below it, "" = none. */
static void draw(struct sonde_cli *cli, const char *text, const char *words)
{
	unsigned int rows, columns, more;

	terminal_size(&rows, &columns);
	rows -= rows > 2 ? 2 : 1; /* for what is more, and for @words */
	(void)fputs("\033[H", cli->out);
	more = draw_lines(cli, text, rows, columns);
	if (more > 0)
		(void)fprintf(cli->out, "%u lines more: a higher window, or -o json\033[K\n", more);
	(void)fprintf(cli->out, "%.*s\033[J", (int)sonde_term_fit(words, columns - 1), words);
}

static bool is_drawn(const struct sonde_cli *cli)
{
	return cli->out_tty && sonde_cli_output(cli) != SONDE_CLI_JSON;
}

/* @before: what is seen now, NULL = nothing yet. */
static void show(struct sonde_cli *cli, const struct look *l, const char *before)
{
	if (is_drawn(cli))
		draw(cli, l->text, "");
	else if (!before || strcmp(l->text, before) != 0)
		(void)fprintf(cli->out, "%s%s",
			      before && sonde_cli_output(cli) == SONDE_CLI_TABLE ? "\n" : "",
			      l->text);
	(void)fflush(cli->out);
	if (!before && !is_drawn(cli))
		(void)fputs(l->words, cli->err);
}

/* The server is away: said once, and on a terminal below the picture. */
static void show_away(struct sonde_cli *cli, const struct look *l, const char *before, bool first)
{
	if (is_drawn(cli)) {
		l->words[strcspn(l->words, "\n")] = '\0';
		draw(cli, before, l->words);
		(void)fflush(cli->out);
	} else if (first) {
		(void)fputs(l->words, cli->err);
	}
}

/* From now on without the heading of CSV: the looks are one list. */
static const char *skip_heading(struct sonde_cli *cli, const char *text)
{
	const char *end = strchr(text, '\n');

	if (is_drawn(cli) || cli->settings->output != SONDE_CLI_FORM_CSV || !cli->headers)
		return text;
	cli->headers = false;
	return end ? end + 1 : text;
}

int sonde_cli_watch(struct sonde_cli *cli)
{
	_cleanup_free_ char *before = NULL;
	unsigned int away = 0;
	uint64_t every_ns = EVERY_NS;
	int status;

	status = sonde_cli_watch_every(cli, &every_ns);
	if (status != 0)
		return status;
	if (is_drawn(cli)) { /* notes would stand in the picture */
		cli->quiet = true;
		(void)fputs("\033[2J", cli->out);
	}
	for (;;) {
		_cleanup_look_ struct look l = {0};

		look(cli, &l);
		away = cli->away ? away + 1 : 0;
		if (l.status == SONDE_CLI_OK) {
			char *seen;

			show(cli, &l, before);
			seen = strdup(skip_heading(cli, l.text));
			if (!seen)
				return sonde_cli_broken(cli, -ENOMEM);
			free(before);
			before = seen;
		} else if (!cli->away || !before || away > AWAY_MAX) {
			(void)fputs(l.text ? l.text : "", cli->out);
			(void)fflush(cli->out);
			(void)fputs(l.words ? l.words : "", cli->err);
			return l.status;
		} else {
			show_away(cli, &l, before, away == 1);
		}
		/* who read it has gone */
		if (ferror(cli->out))
			return SONDE_CLI_OK;
		(void)poll(NULL, 0, (int)(every_ns / SONDE_NS_PER_MS));
	}
}
