/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/settings.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"
#include "ctl/output.h"
#include "ctl/rest.h"

#define TOKEN_BYTES_MAX 255

static const char *const color_names[] = {"auto", "always", "never", NULL};

static const struct sonde_option context_options[] = {
	SONDE_OPTION_STRING(struct sonde_cli_context, "name", name, NULL, "64",
			    "letters, digits, - and _", .flags = SONDE_OPTION_REQUIRED),
	SONDE_OPTION_STRING(struct sonde_cli_context, "server", server, NULL, "1024",
			    "its REST address", .flags = SONDE_OPTION_REQUIRED),
	SONDE_OPTION_STRING(struct sonde_cli_context, "token", token, NULL, "255",
			    "sent to it as Authorization: Bearer", .flags = SONDE_OPTION_SECRET),
	SONDE_OPTION_PATH(struct sonde_cli_context, "token_file", token_file, NULL,
			  "file that holds the token, instead of token"),
	SONDE_OPTION_PATH(struct sonde_cli_context, "ca", ca, NULL,
			  "PEM file of the roots that it is checked by; empty = the system's"),
	SONDE_OPTION_PATH(struct sonde_cli_context, "cert", cert, NULL,
			  "PEM file of our own certificate for it"),
	SONDE_OPTION_PATH(struct sonde_cli_context, "key", key, NULL, "PEM file of its key"),
	{0},
};

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
	SONDE_OPTION_ENUM(struct sonde_cli_settings, "output", output, "table",
			  sonde_cli_form_names,
			  "form of what is printed; dot and mermaid are for topology"),
	SONDE_OPTION_ENUM(struct sonde_cli_settings, "color", color, "auto", color_names,
			  "colours; auto = on a terminal without NO_COLOR"),
	SONDE_OPTION_BOOL(struct sonde_cli_settings, "utc", utc, "false", "times of tables in UTC"),
	SONDE_OPTION_DURATION(struct sonde_cli_settings, "request_timeout", request_timeout_ns,
			      "10s", "100ms", "10m", "longest wait for one answer"),
	SONDE_OPTION_PATH(struct sonde_cli_settings, "tasks_dir", tasks_dir, NULL,
			  "folder of presets; empty = beside the program"),
	SONDE_OPTION_PATH(
		struct sonde_cli_settings, "token_file", token_file, NULL,
		"file that holds the token, instead of token; may not be everyone's to read"),
	SONDE_OPTION_STRING(struct sonde_cli_settings, "context", context, NULL, "64",
			    "which of contexts is used; empty = none, but the keys above"),
	SONDE_OPTION_LIST(struct sonde_cli_settings, "contexts", contexts, n_contexts,
			  context_options, "64", "servers by a name of their own"),
	{0},
};

bool sonde_context_is_name(const char *name)
{
	for (const char *p = name; *p; p++) {
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
			return false;
	}
	return *name && strlen(name) <= SONDE_CONTEXT_NAME_MAX;
}

const struct sonde_cli_context *sonde_settings_context(const struct sonde_cli_settings *s,
						       const char *name)
{
	for (size_t i = 0; i < s->n_contexts; i++) {
		if (strcmp(s->contexts[i].name, name) == 0)
			return &s->contexts[i];
	}
	return NULL;
}

static int check_contexts(const void *config, char **ret_error)
{
	const struct sonde_cli_settings *s = config;

	for (size_t i = 0; i < s->n_contexts; i++) {
		const struct sonde_cli_context *c = &s->contexts[i];

		if (!sonde_context_is_name(c->name))
			return sonde_config_refuse(ret_error,
						   "contexts: '%s': a name has letters, digits, - "
						   "and _",
						   c->name);
		if (sonde_settings_context(s, c->name) != c)
			return sonde_config_refuse(ret_error, "contexts: '%s' stands there twice",
						   c->name);
		if (*c->token && *c->token_file)
			return sonde_config_refuse(
				ret_error, "context '%s': token and token_file are both set",
				c->name);
	}
	return 0;
}

const struct sonde_config_spec sonde_cli_spec = {
	.program = "sonde",
	.summary = "The command line: settings of the person who uses it",
	.env_prefix = "SONDE_",
	.default_file = "~/.config/sonde/config.yaml",
	.size = sizeof(struct sonde_cli_settings),
	.options = options,
	.check = check_contexts,
};

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

int sonde_settings_path(struct sonde_cli *cli, char **ret)
{
	const char *named = sonde_cli_flag(cli, "config");

	if (!named)
		return default_file(ret);
	*ret = strdup(named);
	return *ret ? 0 : -ENOMEM;
}

/* What `config set` cannot replace is refused before it is read: a pipe has nothing yet. */
static int check_replaceable(struct sonde_cli *cli, const char *path)
{
	struct stat there;

	if (lstat(path, &there) < 0)
		return 0; /* it will be made, or whoever reads it says why not */
	if (stat(path, &there) < 0 && errno == ENOENT)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "%s: it is a link to a file that is not there", path);
	if (!S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: it is no regular file", path);
	return 0;
}

/* A file that the person named must be there. */
static int load_settings(struct sonde_cli *cli)
{
	const char *named = sonde_cli_flag(cli, "config"), *command = cli->command->name;
	_cleanup_free_ char *path = NULL, *error = NULL;
	struct sonde_config_spec spec = sonde_cli_spec;
	void *settings;
	int r;

	r = sonde_settings_path(cli, &path);
	if (r < 0)
		return sonde_cli_broken(cli, r);
	if (strcmp(command, "config set") == 0 || strcmp(command, "config use-context") == 0) {
		r = check_replaceable(cli, path);
		if (r != 0)
			return r;
	}
	/* `config set` may be about to make it */
	if (named && strcmp(command, "config set") != 0 && access(named, R_OK) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", named, strerror(errno));
	spec.default_file = *path ? path : NULL;
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

		if (!value || (strcmp(rows[i].flag, "output") == 0 &&
			       (cli->command->own_output || sonde_cli_take_jsonpath(cli, value))))
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

/* --- contexts --- */

/* Which context is meant; NULL = none. Return: 0, SONDE_CLI_USAGE (told). */
static int pick_context(struct sonde_cli *cli, const char **ret)
{
	const char *flag = sonde_cli_flag(cli, "context"), *server = sonde_cli_flag(cli, "server");

	*ret = NULL;
	if (flag && server)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--server and --context exclude each other");
	if (flag) {
		*ret = flag;
		return 0;
	}
	if (server)
		return 0;
	if (getenv("SONDE_SERVER")) {
		if (getenv("SONDE_CONTEXT"))
			return sonde_cli_fail(cli, SONDE_CLI_USAGE,
					      "SONDE_SERVER and SONDE_CONTEXT exclude each other");
		return 0;
	}
	*ret = *cli->settings->context ? cli->settings->context : NULL;
	return 0;
}

static int replace(struct sonde_cli *cli, char **at, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return sonde_cli_broken(cli, -ENOMEM);
	free(*at);
	*at = copy;
	return 0;
}

/*
 * A context is a server with what belongs to it: none of the file's own credentials goes to another one. The
 * environment's do, and go before the context's.
 */
static int apply_context(struct sonde_cli *cli, const struct sonde_cli_context *c)
{
	struct sonde_cli_settings *s = cli->settings;
	bool token = getenv("SONDE_TOKEN") || getenv("SONDE_TOKEN_FILE");
	const struct {
		char **at;
		const char *value;
		bool kept;
	} rows[] = {
		{&s->server, c->server, false},
		{&s->token, c->token, token},
		{&s->token_file, c->token_file, token},
		{&s->ca, c->ca, getenv("SONDE_CA")},
		{&s->cert, c->cert, getenv("SONDE_CERT")},
		{&s->key, c->key, getenv("SONDE_KEY")},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		int status = rows[i].kept ? 0 : replace(cli, rows[i].at, rows[i].value);

		if (status != 0)
			return status;
	}
	return 0;
}

int sonde_settings_use_context(struct sonde_cli *cli)
{
	const struct sonde_cli_context *c;
	const char *name;
	int status;

	status = pick_context(cli, &name);
	if (status != 0)
		return status;
	if (!name)
		return replace(cli, &cli->settings->context, "");
	c = sonde_settings_context(cli->settings, name);
	if (!c)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "no context '%.64s'; see sonde config view", name);
	status = apply_context(cli, c);
	if (status == 0)
		status = replace(cli, &cli->settings->context, c->name);
	return status == 0 ? override_settings(cli) : status; /* flags go before the context too */
}

/* Of a token and a file of one, the environment's goes before the config file's. */
static int read_token(struct sonde_cli *cli)
{
	struct sonde_cli_settings *s = cli->settings;
	char *token = NULL;
	int r;

	if (!*s->token_file || (*s->token && getenv("SONDE_TOKEN") && !getenv("SONDE_TOKEN_FILE")))
		return 0;
	if (*s->token && !getenv("SONDE_TOKEN_FILE"))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "token and token_file are both set");
	r = sonde_file_read_line(s->token_file, true, TOKEN_BYTES_MAX, &token);
	if (r < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "token_file %s: %s", s->token_file,
				      sonde_file_error(r, true));
	if (sonde_has_control(token)) {
		free(token);
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "token_file %s: control bytes in its line", s->token_file);
	}
	free(s->token);
	s->token = token;
	return 0;
}

int sonde_settings_load(struct sonde_cli *cli)
{
	int status = load_settings(cli);

	return status == 0 ? override_settings(cli) : status;
}

int sonde_settings_open_server(struct sonde_cli *cli)
{
	struct sonde_rest_options o;
	int status, r;

	status = sonde_settings_use_context(cli);
	if (status == 0)
		status = read_token(cli);
	if (status != 0)
		return status;
	o = (struct sonde_rest_options){
		.server = cli->settings->server,
		.token = cli->settings->token,
		.ca = cli->settings->ca,
		.cert = cli->settings->cert,
		.key = cli->settings->key,
		.timeout_ns = cli->settings->request_timeout_ns,
		.trace = cli->verbose ? cli->err : NULL,
	};
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
