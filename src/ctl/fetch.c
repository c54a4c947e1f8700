/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/fetch.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int sonde_cli_status_of(long http_status)
{
	if (http_status == 404 || http_status == 410)
		return SONDE_CLI_NOT_FOUND;
	if (http_status == 408 || http_status == 504)
		return SONDE_CLI_TIMEOUT;
	if (http_status >= 400 && http_status < 500)
		return SONDE_CLI_REFUSED;
	return SONDE_CLI_INTERNAL;
}

static int fail_request(struct sonde_cli *cli, int err)
{
	const char *words = sonde_rest_error(cli->rest), *server = sonde_rest_server(cli->rest);

	switch (err) {
	case -ECONNREFUSED:
	case -EPROTO:
		cli->away = true;
		return sonde_cli_fail(cli, SONDE_CLI_UNREACHABLE,
				      "cannot reach the server at %s: %s", server, words);
	case -ETIMEDOUT:
		cli->away = true;
		return sonde_cli_fail(cli, SONDE_CLI_TIMEOUT, "%s did not answer in time: %s",
				      server, words);
	case -EINTR:
		return SONDE_CLI_SIGINT;
	case -EMSGSIZE:
	case -EBADMSG:
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "%s: %s", server, words);
	default:
		return sonde_cli_broken(cli, err);
	}
}

/* Where the token comes from: as read_token() of settings.c picks it. */
static const char *token_source(const struct sonde_cli_settings *s)
{
	const char *variable = getenv("SONDE_TOKEN");

	if (variable && *variable && !getenv("SONDE_TOKEN_FILE"))
		return "the variable SONDE_TOKEN";
	return *s->token_file ? s->token_file : "`token` in the config file";
}

static int fail_token(struct sonde_cli *cli, int status)
{
	const char *server = sonde_rest_server(cli->rest);

	if (cli->settings->token && *cli->settings->token) {
		return sonde_cli_fail(
			cli, status,
			"%s refuses the token of %s: it wants one of its http.tokens, or "
			"where it has none, the one of its `token` or `token_file`",
			server, token_source(cli->settings));
	}
	return sonde_cli_fail(cli, status,
			      "%s wants a token: set the variable SONDE_TOKEN, or `token` in "
			      "~/.config/sonde/config.yaml",
			      server);
}

/* RFC 9457: its own words, and the field that they are about. */
static int fail_problem(struct sonde_cli *cli, const struct sonde_rest_answer *answer)
{
	const char *title = json_string_value(json_object_get(answer->json, "title"));
	const char *detail = json_string_value(json_object_get(answer->json, "detail"));
	const char *field = json_string_value(json_object_get(answer->json, "field"));
	const char *words = detail ? detail : title;
	int status = sonde_cli_status_of(answer->status);

	cli->away = cli->away || status == SONDE_CLI_TIMEOUT; /* a proxy's words */
	if (answer->status == 401)
		return fail_token(cli, status);
	if (!words)
		return sonde_cli_fail(cli, status, "%s answered with HTTP status %ld",
				      sonde_rest_server(cli->rest), answer->status);
	if (field && strncmp(words, field, strlen(field)) != 0)
		return sonde_cli_fail(cli, status, "%s: %s", field, words);
	return sonde_cli_fail(cli, status, "%s", words);
}

int sonde_cli_tell(struct sonde_cli *cli, int r, const struct sonde_rest_answer *answer)
{
	if (r < 0)
		return fail_request(cli, r);
	if (answer->status < 200 || answer->status > 299)
		return fail_problem(cli, answer);
	return 0;
}

/* What a flag was given is what the server cannot read: the fault of who typed it, not a refusal of what is wanted. */
static bool is_flag_fault(const struct sonde_cli *cli, const struct sonde_rest_answer *answer)
{
	const char *field = json_string_value(json_object_get(answer->json, "field"));

	return answer->status == 400 && field && sonde_cli_flag(cli, field);
}

int sonde_cli_request(struct sonde_cli *cli, const char *path, const char *body,
		      struct sonde_rest_answer *ret)
{
	int r = sonde_rest_request(cli->rest, path, body, ret);
	int status = sonde_cli_tell(cli, r, ret);

	return r == 0 && !body && is_flag_fault(cli, ret) ? SONDE_CLI_USAGE : status;
}

int sonde_cli_send(struct sonde_cli *cli, const char *method, const char *path, const char *body,
		   struct sonde_rest_answer *ret)
{
	int r = sonde_rest_send(cli->rest, method, path, body, ret);

	return sonde_cli_tell(cli, r, ret);
}

int sonde_cli_task_path(const char *id, const char *suffix, struct sonde_buf *out)
{
	int r;

	/* "." and ".." would be taken out of the path on the way */
	if (!*id || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return -EINVAL;
	r = sonde_buf_printf(out, "/api/v1/tasks/");
	if (r == 0)
		r = sonde_rest_escape(id, out);
	return r < 0 ? r : sonde_buf_printf(out, "%s", suffix);
}

int sonde_cli_no_task_path(struct sonde_cli *cli, const char *id, int error)
{
	if (error == -EMSGSIZE || error == -EINVAL)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "'%.64s' is no task id", id);
	return sonde_cli_broken(cli, error);
}

int sonde_cli_add_parameter(struct sonde_buf *path, const char *name, const char *value)
{
	int r;

	if (!value)
		return 0;
	r = sonde_buf_printf(path, "%c%s=", strchr(sonde_buf_str(path), '?') ? '&' : '?', name);
	return r < 0 ? r : sonde_rest_escape(value, path);
}

int sonde_cli_post_task(struct sonde_cli *cli, const char *id, const char *suffix, const char *body,
			struct sonde_rest_answer *ret)
{
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	int r;

	r = sonde_cli_task_path(id, suffix, &path);
	if (r < 0)
		return sonde_cli_no_task_path(cli, id, r);
	return sonde_cli_request(cli, sonde_buf_str(&path), body, ret);
}

int sonde_cli_get_task(struct sonde_cli *cli, const char *id, const char *suffix,
		       struct sonde_rest_answer *ret)
{
	return sonde_cli_post_task(cli, id, suffix, NULL, ret);
}
