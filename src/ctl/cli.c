/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "config/config.h"
#include "ctl/cli-args.h"
#include "ctl/rest.h"
#include "ctl/settings.h"
#include "ctl/term.h"

static const char *const output_names[] = {"table", "wide", "json", "dot", "mermaid", NULL};
static const char *const color_names[] = {"auto", "always", "never", NULL};

static const struct sonde_option options[] = {
	SONDE_OPTION_STRING(struct sonde_cli_settings, "server", server, "http://127.0.0.1:12800",
			    "1024", "the server's REST address", .flags = SONDE_OPTION_REQUIRED),
	SONDE_OPTION_STRING(struct sonde_cli_settings, "token", token, NULL, "255",
			    "sent with every request as Authorization: Bearer",
			    .flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_PATH(
		struct sonde_cli_settings, "ca", ca, NULL,
		"PEM file of the roots that an https server is checked by; empty = the system's"),
	SONDE_OPTION_PATH(struct sonde_cli_settings, "cert", cert, NULL,
			  "PEM file of our own certificate, where the server asks for one"),
	SONDE_OPTION_PATH(struct sonde_cli_settings, "key", key, NULL, "PEM file of its key"),
	SONDE_OPTION_STRING(struct sonde_cli_settings, "oap", oap, "http://127.0.0.1:12800", "1024",
			    "a SkyWalking OAP's REST address, for skywalking install and status",
			    .flags = SONDE_OPTION_REQUIRED),
	SONDE_OPTION_STRING(
		struct sonde_cli_settings, "oap_token", oap_token, NULL, "4096",
		"sent with every request to the OAP as Authorization: Bearer, where a gateway asks for it",
		.flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_STRING(struct sonde_cli_settings, "oap_basic", oap_basic, NULL, "4096",
			    "NAME:PASSWORD of basic authentication instead",
			    .flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_ENUM(struct sonde_cli_settings, "output", output, "table", output_names,
			  "form of what is printed; dot and mermaid are for topology"),
	SONDE_OPTION_ENUM(struct sonde_cli_settings, "color", color, "auto", color_names,
			  "colours; auto = on a terminal without NO_COLOR"),
	SONDE_OPTION_BOOL(struct sonde_cli_settings, "utc", utc, "false", "times of tables in UTC"),
	SONDE_OPTION_DURATION(struct sonde_cli_settings, "request_timeout", request_timeout_ns,
			      "10s", "100ms", "10m", "longest wait for one answer"),
	SONDE_OPTION_PATH(struct sonde_cli_settings, "tasks_dir", tasks_dir, NULL,
			  "folder of presets; empty = beside the program"),
	{0},
};

const struct sonde_config_spec sonde_cli_spec = {
	.program = "sonde",
	.summary = "The command line: settings of the person who uses it",
	.env_prefix = "SONDE_",
	.default_file = "~/.config/sonde/config.yaml",
	.size = sizeof(struct sonde_cli_settings),
	.options = options,
};

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

/* "$XDG_CONFIG_HOME/sonde/config.yaml"; "" without a home. */
static int default_file(char **ret)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n;

	if (base && base[0] == '/')
		n = asprintf(ret, "%s/sonde/config.yaml", base);
	else if (home && home[0] == '/')
		n = asprintf(ret, "%s/.config/sonde/config.yaml", home);
	else
		n = asprintf(ret, "%s", "");
	return n < 0 ? -ENOMEM : 0;
}

/* A file that the person named must be there. */
static int load_settings(struct sonde_cli *cli)
{
	const char *named = sonde_cli_flag(cli, "config");
	_cleanup_free_ char *path = NULL, *error = NULL;
	struct sonde_config_spec spec = sonde_cli_spec;
	void *settings;
	int r;

	if (named && access(named, R_OK) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", named, strerror(errno));
	r = default_file(&path);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	spec.default_file = named ? named : *path ? path : NULL;
	r = sonde_config_load(&spec, NULL, &settings, &error);
	if (r < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s", error ? error : strerror(-r));
	cli->settings = settings;
	return 0;
}

static int override_settings(struct sonde_cli *cli)
{
	static const struct {
		const char *flag, *key;
	} rows[] = {
		{"server", "server"},
		{"ca", "ca"},
		{"cert", "cert"},
		{"key", "key"},
		{"output", "output"},
		{"color", "color"},
		{"request-timeout", "request_timeout"},
		{"tasks-dir", "tasks_dir"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		const char *value = sonde_cli_flag(cli, rows[i].flag);
		_cleanup_free_ char *error = NULL;
		char where[32];
		int r;

		if (!value)
			continue;
		(void)snprintf(where, sizeof(where), "--%s", rows[i].flag);
		r = sonde_config_set(&sonde_cli_spec, cli->settings, rows[i].key, value, where,
				     &error);
		if (r < 0)
			return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s",
					      error ? error : strerror(-r));
	}
	if (sonde_cli_flag(cli, "utc"))
		cli->settings->utc = true;
	return 0;
}

static bool wants_color(const struct sonde_cli *cli, bool tty)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (cli->settings->color != SONDE_CLI_COLOR_AUTO)
		return cli->settings->color == SONDE_CLI_COLOR_ALWAYS;
	return tty && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}

static int check_output(struct sonde_cli *cli)
{
	bool graph = cli->settings->output == SONDE_CLI_DOT ||
		     cli->settings->output == SONDE_CLI_MERMAID;

	if (graph && strcmp(cli->command->name, "topology") != 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "-o %s is for topology only; expected table, wide or json",
				      output_names[cli->settings->output]);
	return 0;
}

static int set_up(struct sonde_cli *cli)
{
	int status;

	cli->headers = !sonde_cli_flag(cli, "no-headers");
	cli->quiet = sonde_cli_flag(cli, "quiet");
	cli->verbose = sonde_cli_flag(cli, "verbose");
	status = load_settings(cli);
	if (status == 0)
		status = override_settings(cli);
	if (status == 0)
		status = check_output(cli);
	if (status != 0)
		return status;
	cli->out_color = wants_color(cli, cli->out_tty);
	cli->err_color = wants_color(cli, cli->err_tty);
	if (!cli->out_tty || cli->settings->output == SONDE_CLI_WIDE)
		cli->width = 0;
	return 0;
}

static int open_server(struct sonde_cli *cli)
{
	struct sonde_rest_options o = {
		.server = cli->settings->server,
		.token = cli->settings->token,
		.ca = cli->settings->ca,
		.cert = cli->settings->cert,
		.key = cli->settings->key,
		.timeout_ns = cli->settings->request_timeout_ns,
		.trace = cli->verbose ? cli->err : NULL,
	};
	int r;

	r = sonde_rest_new(&o, &cli->rest);
	if (r == -EINVAL) {
		return sonde_cli_fail(
			cli, SONDE_CLI_USAGE,
			"server '%s': expected http://HOST:PORT or https://HOST:PORT, "
			"with a port from 1 to 65535",
			cli->settings->server);
	}
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
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
		status = open_server(cli);
	if (status != 0)
		return status;
	return cli->command->run(cli);
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

int sonde_cli_version(struct sonde_cli *cli)
{
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		(void)fprintf(cli->out, "{\"version\":\"%s\"}\n", SONDE_VERSION);
	else
		(void)fprintf(cli->out, "sonde %s\n", SONDE_VERSION);
	return SONDE_CLI_OK;
}
