/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "config/config.h"
#include "ctl/cli-args.h"
#include "ctl/output.h"
#include "ctl/rest.h"
#include "ctl/settings.h"
#include "ctl/term.h"
#include "ctl/watch.h"

static void say(FILE *out, const char *prefix, const char *words)
{
	_cleanup_buf_ struct sonde_buf safe = SONDE_BUF_INIT(256UL * 1024);

	/* without memory nothing is said: the exit status still tells */
	if (sonde_term_escape(words, strlen(words), &safe) < 0)
		return;
	(void)fprintf(out, "%s%s\n", prefix, sonde_buf_str(&safe));
}

int sonde_cli_fail(struct sonde_cli *cli, int status, const char *fmt, ...)
{
	_cleanup_free_ char *words = NULL;
	char *line, *rest;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&words, fmt, ap);
	va_end(ap);
	if (n < 0) {
		words = NULL;
		return status;
	}
	(void)fflush(
		cli->out); /* where both are one file, words stand behind what they are about */
	rest = words;
	while ((line = strsep(&rest, "\n"))) /* a config's faults are one a line */
		say(cli->err, "sonde: ", line);
	return status;
}

void sonde_cli_note(struct sonde_cli *cli, const char *fmt, ...)
{
	_cleanup_free_ char *words = NULL;
	va_list ap;
	int n;

	if (cli->quiet)
		return;
	va_start(ap, fmt);
	n = vasprintf(&words, fmt, ap);
	va_end(ap);
	if (n < 0) {
		words = NULL;
		return;
	}
	say(cli->err, "", words);
}

int sonde_cli_broken(struct sonde_cli *cli, int err)
{
	return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "%s", strerror(-err));
}

static bool wants_color(const struct sonde_cli *cli, bool tty)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (cli->settings->color != SONDE_CLI_COLOR_AUTO)
		return cli->settings->color == SONDE_CLI_COLOR_ALWAYS;
	return tty && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}

static int set_up(struct sonde_cli *cli)
{
	int status;

	cli->headers = !sonde_cli_flag(cli, "no-headers");
	cli->quiet = sonde_cli_flag(cli, "quiet");
	cli->verbose = sonde_cli_flag(cli, "verbose");
	status = sonde_settings_load(cli);
	if (status == 0)
		status = sonde_cli_check_output(cli);
	if (status != 0)
		return status;
	cli->out_color = wants_color(cli, cli->out_tty);
	cli->err_color = wants_color(cli, cli->err_tty);
	if (!cli->out_tty || sonde_cli_output(cli) == SONDE_CLI_WIDE)
		cli->width = 0;
	return 0;
}

static int dispatch(struct sonde_cli *cli)
{
	int status;

	if (!cli->command || sonde_cli_flag(cli, "help")) {
		sonde_cli_help(cli->command, cli->out);
		return 0;
	}
	status = set_up(cli);
	if (status == 0 && sonde_cli_flag(cli, "version"))
		return sonde_cli_version(cli);
	if (status == 0 && !cli->command->offline)
		status = sonde_settings_open_server(cli);
	if (status != 0)
		return status;
	return sonde_cli_flag(cli, "watch") ? sonde_cli_watch(cli) : cli->command->run(cli);
}

int sonde_cli_main(struct sonde_cli *cli, int argc, char *const *argv)
{
	int status;

	assert(cli && cli->out && cli->err && argv);

	status = sonde_cli_parse(cli, argc, argv);
	if (status == 0)
		status = dispatch(cli);
	cli->rest = sonde_rest_free(cli->rest);
	cli->settings = sonde_config_free(&sonde_cli_spec, cli->settings);
	/* a full disk or a closed pipe must not look like success */
	if ((fflush(cli->out) != 0 || ferror(cli->out)) && status == 0)
		status = sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "cannot write: %s",
					strerror(errno));
	return status;
}
