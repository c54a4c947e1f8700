/* SPDX-License-Identifier: Apache-2.0 */
/* sonde version, api-resources */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/output.h"
#include "ctl/settings.h"
#include "ctl/view.h"

static int print_version(struct sonde_cli *cli, const json_t *server)
{
	json_auto_t *value = NULL;

	if (sonde_cli_output(cli) == SONDE_CLI_JSON) {
		value = json_pack("{s:s, s:O*}", "version", SONDE_VERSION, "server", server);
		return value ? sonde_cli_print_value(cli, value) : sonde_cli_broken(cli, -ENOMEM);
	}
	(void)fprintf(cli->out, "sonde %s\n", SONDE_VERSION);
	if (!server)
		return SONDE_CLI_OK;
	(void)fputs("sonde-server ", cli->out);
	sonde_view_text(cli, json_string_value(json_object_get(server, "version")));
	(void)fprintf(cli->out, ", schema %" JSON_INTEGER_FORMAT ", at ",
		      json_integer_value(json_object_get(server, "schema")));
	sonde_view_text(cli, cli->settings->server);
	(void)fputc('\n', cli->out);
	return SONDE_CLI_OK;
}

static const char *why_not(const struct sonde_cli *cli, const struct sonde_rest_answer *answer)
{
	if (answer->status != 401)
		return "";
	return *cli->settings->token
		       ? ": it refuses the token"
		       : ": it wants a token (SONDE_TOKEN, or `token` in the config file)";
}

/* The server's own is asked for, but is no condition: the client's is what one wants where nothing answers. */
int sonde_cli_version(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	json_auto_t *server = NULL;
	int status, r;

	if (sonde_cli_flag(cli, "client") || sonde_cli_flag(cli, "version"))
		return print_version(cli, NULL);
	status = sonde_settings_open_server(cli);
	if (status != 0)
		return status;
	r = sonde_rest_request(cli->rest, "/api/v1/server", NULL, &answer);
	if (r == 0 && answer.status == 200 &&
	    json_is_string(json_object_get(answer.json, "version")))
		server =
			json_pack("{s:O, s:O?}", "version", json_object_get(answer.json, "version"),
				  "schema", json_object_get(answer.json, "schema"));
	else if (r < 0)
		sonde_cli_note(cli, "the server at %s is not reached: %s",
			       sonde_rest_server(cli->rest), sonde_rest_error(cli->rest));
	else
		sonde_cli_note(cli, "the server at %s does not tell its version%s",
			       sonde_rest_server(cli->rest), why_not(cli, &answer));
	return print_version(cli, server);
}

/* --- api-resources --- */

/* "GET, POST" */
static json_t *methods_of(const json_t *item)
{
	json_t *value,
		*object = (json_t *)item; /* the loop's macro is not const-clean; it only reads */
	json_t *list = json_array();
	const char *method;

	json_object_foreach(object, method, value)
	{
		char upper[16];

		(void)snprintf(upper, sizeof(upper), "%s", method);
		for (char *p = upper; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		if (!json_is_object(value))
			continue;
		if (!list || json_array_append_new(list, json_string(upper)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static const char *summary_of(const json_t *item)
{
	json_t *value, *object = (json_t *)item; /* as above */
	const char *method, *summary;

	json_object_foreach(object, method, value)
	{
		summary = json_string_value(json_object_get(value, "summary"));
		if (summary)
			return summary;
	}
	return "";
}

static int collect(const json_t *paths, json_t *rows)
{
	json_t *item, *object = (json_t *)paths; /* as above */
	const char *path;

	json_object_foreach(object, path, item)
	{
		if (json_array_append_new(rows, json_pack("{s:s, s:o, s:s}", "path", path,
							  "methods", methods_of(item), "summary",
							  summary_of(item))) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void resource_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	const json_t *methods = json_object_get(row, "methods");
	char text[64] = "";

	for (size_t k = 0; k < json_array_size(methods); k++) {
		size_t n = strlen(text);

		(void)snprintf(text + n, sizeof(text) - n, "%s%s", n > 0 ? "," : "",
			       json_string_value(json_array_get(methods, k)));
	}
	sonde_cell_text(t, row, "path");
	sonde_table_add(t, text);
	sonde_cell_text(t, row, "summary");
}

static int print_resources(struct sonde_cli *cli, const json_t *rows)
{
	static const struct sonde_column columns[] = {{"PATH", false, false},
						      {"METHODS", false, false},
						      {"SUMMARY", false, true},
						      {NULL}};

	return sonde_view_rows(cli, columns, rows, resource_cells);
}

/* What the server at hand has to ask for: out of its own description, so that it is never behind. */
int sonde_cli_api_resources(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	json_auto_t *rows = json_array();
	json_auto_t *all = NULL;
	int status;

	status = sonde_cli_request(cli, "/api/v1/openapi.json", NULL, &answer);
	if (status != 0)
		return status;
	if (!rows || collect(json_object_get(answer.json, "paths"), rows) < 0)
		return sonde_cli_broken(cli, -ENOMEM);
	if (sonde_cli_output(cli) != SONDE_CLI_JSON)
		return print_resources(cli, rows);
	all = json_pack("{s:O}", "resources", rows);
	return all ? sonde_cli_print_value(cli, all) : sonde_cli_broken(cli, -ENOMEM);
}
