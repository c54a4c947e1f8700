/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/oap.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/num.h"
#include "base/utf8.h"
#include "ctl/rest.h"

#define SECRET_BYTES_MAX 4096

/* The secret of @flag's file, else @setting (of the environment or the config). *@ret may be NULL: none. */
static int read_secret(struct sonde_cli *cli, const char *flag, const char *setting, char **ret)
{
	const char *path = sonde_cli_flag(cli, flag);
	char *text = NULL;
	int r;

	if (!path && !*setting)
		return 0;
	if (!path) {
		*ret = strdup(setting);
		return *ret ? 0 : sonde_cli_broken(cli, -ENOMEM);
	}
	r = sonde_file_read_line(path, true, SECRET_BYTES_MAX, &text);
	if (r < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--%s %s: %s", flag, path,
				      sonde_file_error(r, true));
	if (sonde_has_control(text)) {
		free(text);
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "--%s %s: control bytes in its line",
				      flag, path);
	}
	*ret = text;
	return 0;
}

static int open_rest(struct sonde_cli *cli, const char *url, const char *token, const char *basic)
{
	struct sonde_rest_options o = {
		.server = url,
		.token = token,
		.basic = basic,
		.ca = cli->settings->ca,
		.cert = cli->settings->cert,
		.key = cli->settings->key,
		.timeout_ns = cli->settings->request_timeout_ns,
		.trace = cli->verbose ? cli->err : NULL,
	};
	int r;

	if (basic && !strchr(basic, ':'))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "the name and password of --basic-file or SONDE_OAP_BASIC: "
				      "expected NAME:PASSWORD");
	r = sonde_rest_new(&o, &cli->rest);
	if (r == -EINVAL)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--oap '%s': expected http://HOST:PORT or https://HOST:PORT, "
				      "with a port from 1 to 65535",
				      url);
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

int sonde_oap_open(struct sonde_cli *cli)
{
	const char *url = sonde_cli_flag(cli, "oap");
	_cleanup_free_ char *token = NULL, *basic = NULL;
	int status;

	assert(!cli->rest);

	if (sonde_cli_flag(cli, "token-file") && sonde_cli_flag(cli, "basic-file"))
		return sonde_cli_fail(cli, SONDE_CLI_USAGE,
				      "--token-file and --basic-file exclude each other");
	if (!sonde_cli_flag(cli, "basic-file")) {
		status = read_secret(cli, "token-file", cli->settings->oap_token, &token);
		if (status != 0)
			return status;
	}
	if (!token) {
		status = read_secret(cli, "basic-file", cli->settings->oap_basic, &basic);
		if (status != 0)
			return status;
	}
	return open_rest(cli, url ? url : cli->settings->oap, token, basic);
}

/* --- one question --- */

static int fail_request(struct sonde_cli *cli, int err)
{
	const char *words = sonde_rest_error(cli->rest), *url = sonde_rest_server(cli->rest);

	switch (err) {
	case -EPROTO:
		return sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE,
				      "no OAP's GraphQL at %s: %s (GraphQL is on the REST port of "
				      "`core`, 12800 by default; 11800 is for agents)",
				      url, words);
	case -ECONNREFUSED:
		return sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE, "cannot reach the OAP at %s: %s",
				      url, words);
	case -ETIMEDOUT:
		return sonde_cli_fail(cli, SONDE_CLI_TIMEOUT,
				      "the OAP at %s did not answer in time: %s", url, words);
	case -EBADMSG:
		return sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE,
				      "no OAP's GraphQL at %s: %s (is it a UI's page?)", url,
				      words);
	case -EMSGSIZE:
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "%s: %s", url, words);
	default:
		return sonde_cli_broken(cli, err);
	}
}

/* The first of GraphQL's errors; NULL: none. */
static const char *error_words(const json_t *json)
{
	const json_t *errors = json_object_get(json, "errors");
	const char *words =
		json_string_value(json_object_get(json_array_get(errors, 0), "message"));

	if (words || json_array_size(errors) == 0)
		return words;
	return "an error without a message";
}

/* A sonde-server, which speaks as an OAP does, or is too old for that. */
static int fail_is_ours(struct sonde_cli *cli)
{
	return sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE,
			      "no OAP at %s: it is a sonde-server, which has dashboards of its own",
			      sonde_rest_server(cli->rest));
}

static int fail_status(struct sonde_cli *cli, const struct sonde_rest_answer *answer)
{
	const char *url = sonde_rest_server(cli->rest);

	if (answer->status == 401 || answer->status == 403) {
		return sonde_cli_fail(cli, SONDE_CLI_REFUSED,
				      "%s refuses with HTTP status %ld: what stands before the OAP "
				      "asks for another token or password (--token-file, "
				      "--basic-file)",
				      url, answer->status);
	}
	if (answer->status == 404 && json_object_get(answer->json, "title"))
		return fail_is_ours(cli);
	return sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE,
			      "no OAP's GraphQL at %s: POST /graphql gave HTTP status %ld", url,
			      answer->status);
}

int sonde_oap_ask(struct sonde_cli *cli, const char *query, json_t *variables, json_t **ret_data)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	json_auto_t *request = json_pack("{s:s, s:o*}", "query", query, "variables", variables);
	_cleanup_free_ char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;
	const char *words;
	json_t *data;
	int r;

	assert(cli && cli->rest && query && ret_data);

	if (!body)
		return sonde_cli_broken(cli, -ENOMEM);
	r = sonde_rest_request(cli->rest, "/graphql", body, &answer);
	if (r < 0)
		return fail_request(cli, r);
	words = error_words(answer.json);
	if (words)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "the OAP at %s says: %s",
				      sonde_rest_server(cli->rest), words);
	if (answer.status != 200)
		return fail_status(cli, &answer);
	data = json_object_get(answer.json, "data");
	if (!json_is_object(data))
		return sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE,
				      "no OAP's GraphQL at %s: its answer has no data",
				      sonde_rest_server(cli->rest));
	*ret_data = json_incref(data);
	return 0;
}

/* --- what it is --- */

bool sonde_oap_is_update_refused(const char *words)
{
	return words && strstr(words, "SW_ENABLE_UPDATE_UI_TEMPLATE");
}

static bool has_field(const json_t *type, const char *name)
{
	const json_t *fields = json_object_get(type, "fields"), *field;
	size_t i;

	json_array_foreach(fields, i, field)
	{
		const char *have = json_string_value(json_object_get(field, "name"));

		if (have && strcmp(have, name) == 0)
			return true;
	}
	return false;
}

/* "10.1.0-d28dfea"; numbers stay 0 if it is something else. */
static void read_version(const char *text, struct sonde_oap_about *about)
{
	unsigned int major, minor;
	int n = 0;

	(void)snprintf(about->version, sizeof(about->version), "%s", text ? text : "unknown");
	for (char *p = about->version; *p; p++) {
		if (*p < ' ' || *p > '~')
			*p = '?';
	}
	/* NOLINTNEXTLINE(cert-err34-c): bounded by the widths, and %n tells whether all was there */
	if (text && sscanf(text, "%4u.%4u%n", &major, &minor, &n) == 2 && n > 0) {
		about->major = major;
		about->minor = minor;
	}
}

static int ask_updates(struct sonde_cli *cli, enum sonde_oap_updates *ret)
{
	json_auto_t *data = NULL;
	const json_t *answer;
	const char *words;
	int status;

	status = sonde_oap_ask(cli,
			       "mutation { r: disableTemplate(id: \"sonde-no-such-template\") "
			       "{ id status message } }",
			       NULL, &data);
	if (status != 0)
		return status;
	answer = json_object_get(data, "r");
	words = json_string_value(json_object_get(answer, "message"));
	if (sonde_oap_is_update_refused(words))
		*ret = SONDE_OAP_UPDATES_OFF;
	else if (words && strstr(words, "find the template"))
		*ret = SONDE_OAP_UPDATES_ON;
	else
		*ret = SONDE_OAP_UPDATES_UNKNOWN;
	return 0;
}

int sonde_oap_ask_about(struct sonde_cli *cli, struct sonde_oap_about *ret)
{
	struct sonde_oap_about about = {0};
	json_auto_t *data = NULL;
	int status;

	status = sonde_oap_ask(
		cli, "{ version mutation: __type(name: \"Mutation\") { fields { name } } }", NULL,
		&data);
	if (status != 0)
		return status;
	read_version(json_string_value(json_object_get(data, "version")), &about);
	if (strstr(about.version, "-sonde"))
		return fail_is_ours(cli);
	if (!has_field(json_object_get(data, "mutation"), "addTemplate")) {
		return sonde_cli_fail(cli, SONDE_CLI_UNSUPPORTED,
				      "the OAP %s at %s has no templates of Booster UI: 11.0 and "
				      "later have none (for Horizon UI see "
				      "deploy/skywalking/README.md)",
				      about.version, sonde_rest_server(cli->rest));
	}
	status = ask_updates(cli, &about.updates);
	if (status != 0)
		return status;
	*ret = about;
	return 0;
}
