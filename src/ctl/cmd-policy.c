/* SPDX-License-Identifier: Apache-2.0 */
/* sonde policy list, get, set, delete: tasks that the server makes by itself */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/output.h"
#include "ctl/policy-file.h"
#include "ctl/view.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_int_t count_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* "NETWORK PROCESS_CPU>=75, SYSTEM_LOAD>=8" */
static void cell_thresholds(struct sonde_table *t, const json_t *document)
{
	_cleanup_buf_ struct sonde_buf words = SONDE_BUF_INIT(SONDE_TABLE_CELL_MAX);
	const json_t *targets = json_object_get(document, "policy");
	int r = 0;

	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *target = json_array_get(targets, i);
		const json_t *list = json_object_get(target, "checkers");
		const char *type = text_of(target, "type");

		r = sonde_buf_printf(&words, "%s%s", i ? "; " : "", type ? type : "?");
		for (size_t k = 0; r == 0 && k < json_array_size(list); k++) {
			const json_t *c = json_array_get(list, k);
			const char *name = text_of(c, "type"), *limit = text_of(c, "threshold");

			r = sonde_buf_printf(&words, "%s %s>=%s", k ? "," : "", name ? name : "?",
					     limit ? limit : "?");
		}
	}
	sonde_table_add(t, r == 0 && words.len ? sonde_buf_str(&words) : NULL);
}

/* "nightly at 02:30 UTC" */
static void cell_schedules(struct sonde_table *t, const json_t *document)
{
	_cleanup_buf_ struct sonde_buf words = SONDE_BUF_INIT(SONDE_TABLE_CELL_MAX);
	const json_t *list = json_object_get(document, "schedules");
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *s = json_array_get(list, i);
		const char *name = text_of(s, "name"), *when = text_of(s, "when");

		r = sonde_buf_printf(&words, "%s%s %s", i ? ", " : "", name ? name : "?",
				     when ? when : "?");
	}
	sonde_table_add(t, r == 0 && words.len ? sonde_buf_str(&words) : NULL);
}

/* Of thresholds and schedules together. */
static json_int_t all_tasks(const json_t *policy)
{
	const json_t *list = json_object_get(policy, "schedules");
	json_int_t n = count_of(json_object_get(policy, "thresholds"), "tasks");

	for (size_t i = 0; i < json_array_size(list); i++)
		n = sonde_view_add(n, count_of(json_array_get(list, i), "tasks"));
	return n;
}

/* The later one of the records' last. NULL: none. */
static const json_t *last_of(const json_t *policy)
{
	const json_t *list = json_object_get(policy, "schedules");
	const json_t *last = json_object_get(json_object_get(policy, "thresholds"), "last");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *other = json_object_get(json_array_get(list, i), "last");
		const char *at = text_of(last, "at"), *other_at = text_of(other, "at");

		/* RFC 3339 in UTC sorts as text */
		if (other_at && (!at || strcmp(other_at, at) > 0))
			last = other;
	}
	return last;
}

static void policy_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	const json_t *document = json_object_get(row, "document");

	sonde_cell_text(t, row, "service");
	cell_thresholds(t, document);
	cell_schedules(t, document);
	sonde_table_addf(t, "%" JSON_INTEGER_FORMAT, all_tasks(row));
	sonde_cell_time(t, cli, last_of(row), "at");
	sonde_cell_text(t, last_of(row), "task");
	sonde_cell_text(t, row, "words");
}

int sonde_cli_policy_list(struct sonde_cli *cli)
{
	static const struct sonde_column columns[] = {
		{"SERVICE", false, true},   {"THRESHOLDS", false, true},
		{"SCHEDULES", false, true}, {"TASKS", true, false},
		{"LAST", false, false},	    {"TASK", false, false},
		{"STATE", false, true},	    {NULL}};
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const json_t *policies;
	int status;

	status = sonde_cli_request(cli, "/api/v1/policies", NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	policies = json_object_get(answer.json, "policies");
	if (json_array_size(policies) == 0)
		sonde_cli_note(cli, "there is no policy: sonde policy set -f FILE makes one");
	return sonde_view_rows(cli, columns, policies, policy_cells);
}

/* --- one --- */

static int print_thresholds(struct sonde_cli *cli, const json_t *policy)
{
	static const struct sonde_column columns[] = {
		{"TASK", false, false},	    {"MONITOR", false, false},
		{"THRESHOLD", true, false}, {"SECONDS", true, false},
		{"PRESET", false, false},   {"DURATION", false, false},
		{"URI", false, true},	    {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *targets = json_object_get(json_object_get(policy, "document"), "policy");
	int r = sonde_table_new(columns, &t);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *target = json_array_get(targets, i);
		const json_t *list = json_object_get(target, "checkers");

		for (size_t k = 0; k < json_array_size(list); k++) {
			const json_t *c = json_array_get(list, k);
			const json_t *uris = json_object_get(c, "uriList");

			sonde_cell_text(t, target, "type");
			sonde_cell_text(t, c, "type");
			sonde_cell_text(t, c, "threshold");
			sonde_table_addf(t, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
					 count_of(c, "count"), count_of(c, "period"));
			sonde_cell_text(t, target, "preset");
			sonde_cell_text(t, target, "duration");
			if (json_array_size(uris))
				sonde_table_add(t, json_string_value(json_array_get(uris, 0)));
			else
				sonde_cell_text(t, c, "uriRegex");
		}
	}
	if (sonde_table_rows(t) == 0)
		return SONDE_CLI_OK;
	sonde_view_heading(cli, "Thresholds");
	return sonde_view_table(cli, t);
}

/* When the schedule of this name is due, of the document. */
static const json_t *entry_of(const json_t *policy, const char *name)
{
	const json_t *list = json_object_get(json_object_get(policy, "document"), "schedules");

	for (size_t i = 0; name && i < json_array_size(list); i++) {
		const char *other = text_of(json_array_get(list, i), "name");

		if (other && strcmp(other, name) == 0)
			return json_array_get(list, i);
	}
	return NULL;
}

static int print_schedules(struct sonde_cli *cli, const json_t *policy)
{
	static const struct sonde_column columns[] = {
		{"SCHEDULE", false, true}, {"WHEN", false, false},  {"PRESET", false, false},
		{"NEXT", false, false},	   {"TASKS", true, false},  {"REFUSED", true, false},
		{"SKIPPED", true, false},  {"MISSED", true, false}, {"LAST", false, false},
		{"TASK", false, false},	   {"WORDS", false, true},  {NULL}};
	_cleanup_(sonde_table_freep) struct sonde_table *t = NULL;
	const json_t *list = json_object_get(policy, "schedules");
	int r = sonde_table_new(columns, &t);

	if (r < 0)
		return sonde_cli_broken(cli, r);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i);
		const json_t *entry = entry_of(policy, text_of(row, "name"));
		const json_t *last = json_object_get(row, "last");

		sonde_cell_text(t, row, "name");
		sonde_cell_text(t, entry, "when");
		sonde_cell_text(t, entry, "preset");
		sonde_cell_time(t, cli, row, "next");
		sonde_cell_count(t, row, "tasks");
		sonde_cell_count(t, row, "refused");
		sonde_cell_count(t, row, "skipped");
		sonde_cell_count(t, row, "missed");
		sonde_cell_time(t, cli, last, "at");
		sonde_cell_text(t, last, "task");
		sonde_cell_text(t, last, "words");
	}
	if (sonde_table_rows(t) == 0)
		return SONDE_CLI_OK;
	sonde_view_heading(cli, "Schedules");
	return sonde_view_table(cli, t);
}

static void agent_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	bool current = json_is_true(json_object_get(row, "current"));

	if (text_of(row, "agent_id"))
		sonde_cell_text(t, row, "agent_id");
	else
		sonde_table_add(t, "(does not say)");
	sonde_table_add_styled(t, current ? SONDE_STYLE_GREEN : SONDE_STYLE_DIM,
			       current ? "yes" : "not yet");
	sonde_cell_time(t, cli, row, "asked");
}

static int print_agents(struct sonde_cli *cli, const json_t *policy)
{
	static const struct sonde_column columns[] = {
		{"AGENT", false, true}, {"HAS IT", false, false}, {"ASKED", false, false}, {NULL}};
	const json_t *list = json_object_get(policy, "agents");

	if (json_array_size(list) == 0)
		return SONDE_CLI_OK;
	sonde_view_heading(cli, "Agents that watch");
	return sonde_view_rows(cli, columns, list, agent_cells);
}

static void print_counts(struct sonde_cli *cli, const json_t *thresholds)
{
	(void)fprintf(cli->out,
		      "%-10s %" JSON_INTEGER_FORMAT ", refused %" JSON_INTEGER_FORMAT
		      ", skipped %" JSON_INTEGER_FORMAT "\n",
		      "tasks", count_of(thresholds, "tasks"), count_of(thresholds, "refused"),
		      count_of(thresholds, "skipped"));
}

static int print_policy(struct sonde_cli *cli, const json_t *policy)
{
	const json_t *thresholds = json_object_get(policy, "thresholds");
	const json_t *last = json_object_get(thresholds, "last");
	int status;

	cli->headed = true;
	sonde_view_line_of(cli, policy, "service", "service");
	sonde_view_line_time(cli, policy, "changed", "changed");
	sonde_view_line_of(cli, policy, "state", "words");
	if (text_of(policy, "uuid"))
		print_counts(cli, thresholds);
	sonde_view_line_time(cli, last, "last", "at");
	sonde_view_line_of(cli, last, "task", "task");
	sonde_view_line_of(cli, last, "why", "words");
	status = print_thresholds(cli, policy);
	if (status == 0)
		status = print_schedules(cli, policy);
	return status == 0 ? print_agents(cli, policy) : status;
}

/* "/api/v1/policies/SERVICE". Return: 0 or an exit status. */
static int policy_path(struct sonde_cli *cli, const char *service, struct sonde_buf *path)
{
	int r;

	/* "." and ".." would be taken out of the path on the way */
	if (!*service || strcmp(service, ".") == 0 || strcmp(service, "..") == 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "'%.64s' is no service", service);
	r = sonde_buf_printf(path, "/api/v1/policies/");
	if (r == 0)
		r = sonde_rest_escape(service, path);
	if (r == -EMSGSIZE)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "'%.64s' is no service", service);
	return r < 0 ? sonde_cli_broken(cli, r) : 0;
}

/* What `policy set -f` takes again: as YAML where no other form is asked for. */
static int print_document(struct sonde_cli *cli, const json_t *policy)
{
	const json_t *document = json_object_get(policy, "document");
	int r;

	if (!document)
		return sonde_cli_fail(cli, SONDE_CLI_INTERNAL, "the answer has no document");
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_value(cli, document);
	r = sonde_yaml_write(document, cli->out);
	return r < 0 ? sonde_cli_broken(cli, r) : SONDE_CLI_OK;
}

int sonde_cli_policy_get(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	int status;

	status = policy_path(cli, cli->operands[0], &path);
	if (status == 0)
		status = sonde_cli_request(cli, sonde_buf_str(&path), NULL, &answer);
	if (status != 0)
		return status;
	if (sonde_cli_flag(cli, "document"))
		return print_document(cli, answer.json);
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	return print_policy(cli, answer.json);
}

/* --- set and delete --- */

static int load(struct sonde_cli *cli, const char *file, struct sonde_yaml_node **ret)
{
	_cleanup_free_ char *error = NULL;
	int r = sonde_policy_file_load(file, ret, &error);

	if (r == -EINVAL && error)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s", error);
	if (r == -EFBIG)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: larger than %lu bytes", file,
				      SONDE_POLICY_FILE_MAX);
	if (r == -ENOMEM)
		return sonde_cli_broken(cli, r);
	return r < 0 ? sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s: %s", file, strerror(-r)) : 0;
}

/* The operand's, or the file's own. NULL: told. */
static const char *service_of(struct sonde_cli *cli, const struct sonde_yaml_node *root)
{
	const struct sonde_yaml_node *node = sonde_yaml_get(root, "service");

	if (cli->n_operands)
		return cli->operands[0];
	if (node && node->kind == SONDE_YAML_SCALAR)
		return node->text;
	(void)sonde_cli_fail(cli, SONDE_CLI_USAGE,
			     "whose policy? sonde policy set SERVICE -f FILE, or `service:` in the "
			     "file");
	return NULL;
}

/* What is wrong with the file is told with its line. */
static int tell_problem(struct sonde_cli *cli, const char *file, const struct sonde_yaml_node *root,
			const struct sonde_rest_answer *answer)
{
	const char *detail = text_of(answer->json, "detail");
	const char *field = text_of(answer->json, "field");

	if (answer->status != 400 || !detail)
		return sonde_cli_tell(cli, 0, answer);
	return sonde_cli_fail(cli, SONDE_CLI_USAGE, "%s:%u: %s",
			      strcmp(file, "-") == 0 ? "stdin" : file,
			      sonde_policy_file_line(root, field ? field : ""), detail);
}

/* What of it leads to nothing here, though SkyWalking knows it. */
static void note_unwatched(struct sonde_cli *cli, const json_t *document)
{
	const json_t *targets = json_object_get(document, "policy");

	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *target = json_array_get(targets, i);
		const json_t *list = json_object_get(target, "checkers");
		const char *type = text_of(target, "type");

		if (type && strcmp(type, "NETWORK") != 0) {
			sonde_cli_note(cli,
				       "%s is kept, but not watched: only NETWORK tasks are made",
				       type);
			continue;
		}
		for (size_t k = 0; k < json_array_size(list); k++) {
			const char *monitor = text_of(json_array_get(list, k), "type");

			if (monitor && strncmp(monitor, "HTTP_", 5) == 0)
				sonde_cli_note(cli,
					       "%s is not watched by sonde-agent: HTTP is not "
					       "observed",
					       monitor);
		}
	}
}

int sonde_cli_policy_set(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	const char *file = sonde_cli_flag(cli, "file"), *service;
	_cleanup_free_ char *body = NULL;
	json_t *document;
	int r, status;

	if (!file)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "-f FILE is needed; - is stdin");
	status = load(cli, file, &root);
	if (status != 0)
		return status;
	service = service_of(cli, root);
	if (!service)
		return SONDE_CLI_USAGE;
	status = policy_path(cli, service, &path);
	if (status != 0)
		return status;
	document = sonde_policy_file_json(root);
	body = document ? json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	json_decref(document);
	if (!body)
		return sonde_cli_broken(cli, -ENOMEM);
	r = sonde_rest_send(cli->rest, "PUT", sonde_buf_str(&path), body, &answer);
	if (r < 0)
		return sonde_cli_tell(cli, r, &answer);
	if (answer.status < 200 || answer.status > 299)
		return tell_problem(cli, file, root, &answer);
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_json(cli, &answer);
	note_unwatched(cli, json_object_get(answer.json, "document"));
	sonde_cli_note(cli, "the policy of %s is set", service);
	return SONDE_CLI_OK;
}

int sonde_cli_policy_delete(struct sonde_cli *cli)
{
	for (size_t i = 0; i < cli->n_operands; i++) {
		_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
		_cleanup_buf_ struct sonde_buf path = SONDE_BUF_INIT(4096);
		int status = policy_path(cli, cli->operands[i], &path);

		if (status == 0)
			status = sonde_cli_send(cli, "DELETE", sonde_buf_str(&path), NULL, &answer);
		if (status != 0)
			return status;
		sonde_cli_note(cli, "the policy of %s is deleted", cli->operands[i]);
	}
	return SONDE_CLI_OK;
}
