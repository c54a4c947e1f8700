/* SPDX-License-Identifier: Apache-2.0 */
/* sonde targets list, get */
#include <errno.h>
#include <string.h>

#include "ctl/fetch.h"
#include "ctl/members.h"
#include "ctl/output.h"
#include "ctl/target.h"
#include "ctl/view.h"

static const char *const searched[] = {"service",    "instance", "process",  "layer",
				       "process_id", "host",	 "agent_id", "command_line"};

static bool matches(const json_t *row, const char *search)
{
	if (!search)
		return true;
	for (size_t i = 0; i < ELEMENTS_OF(searched); i++) {
		const char *text = json_string_value(json_object_get(row, searched[i]));

		if (text && strcasestr(text, search))
			return true;
	}
	return false;
}

static void target_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *row)
{
	bool live = json_is_true(json_object_get(row, "live"));

	sonde_cell_text(t, row, "service");
	sonde_cell_text(t, row, "process");
	sonde_cell_number(t, row, "pid");
	sonde_cell_text(t, row, "host");
	sonde_table_add_styled(t, live ? SONDE_STYLE_GREEN : SONDE_STYLE_DIM, live ? "yes" : "no");
	sonde_cell_text(t, row, "command_line");
	sonde_cell_text(t, row, "instance");
	sonde_cell_text(t, row, "layer");
	sonde_cell_time(t, cli, row, "last_seen");
	sonde_cell_text(t, row, "agent_id");
	sonde_cell_text(t, row, "process_id");
	sonde_cell_text(t, json_object_get(row, "last_task"), "id");
	sonde_cell_text(t, row, "why_not");
}

/* Why there is no row: that no agent is there and that its rules name nothing are told apart. */
static void note_no_target(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const json_t *agents;
	size_t n = 0;

	if (sonde_rest_request(cli->rest, "/api/v1/agents", NULL, &answer) < 0)
		return;
	agents = json_object_get(answer.json, "agents");
	for (size_t i = 0; i < json_array_size(agents); i++) {
		if (json_is_true(json_object_get(json_array_get(agents, i), "connected")))
			n++;
	}
	if (n == 0)
		sonde_cli_note(cli, "no process is reported: no agent is connected");
	else
		sonde_cli_note(cli,
			       "%zu agent%s, no rule of %s matches a process; a pid works: pid:N",
			       n, n == 1 ? "" : "s", n == 1 ? "its own" : "theirs");
}

/* Flags may have left out what there is. */
static void note_none(struct sonde_cli *cli)
{
	const char *node = sonde_cli_flag(cli, "node");

	if (sonde_cli_flag(cli, "search")) {
		sonde_cli_note(cli, "no process that is reported matches");
	} else if (node) {
		sonde_cli_note(cli,
			       "no process of host '%.64s' is reported; sonde targets list hosts "
			       "has their names",
			       node);
	} else {
		note_no_target(cli);
	}
}

static int print_targets(struct sonde_cli *cli, const json_t *targets)
{
	static const struct sonde_column columns[] = {{"SERVICE", false, true},
						      {"PROCESS", false, true},
						      {"PID", true, false},
						      {"HOST", false, true},
						      {"LIVE", false, false},
						      {"COMMAND", false, true},
						      {"INSTANCE", .wide = true},
						      {"LAYER", .wide = true},
						      {"LAST SEEN", .wide = true},
						      {"AGENT", .wide = true},
						      {"PROCESS ID", .wide = true},
						      {"LAST TASK", false, false, true},
						      {"WHY NOT", false, false, true},
						      {NULL}};

	if (json_array_size(targets) == 0)
		note_none(cli);
	return sonde_view_rows(cli, columns, targets, target_cells);
}

/* --- kinds --- */

enum kind {
	KIND_PROCESSES,
	KIND_HOSTS,
	KIND_SERVICES,
	KIND_PODS,
	_KIND_MAX
};

static const char *const kind_names[] = {"processes", "hosts", "services", "pods"};
_Static_assert(ELEMENTS_OF(kind_names) == _KIND_MAX, "a name for each kind");

/* "process", "processes"; nothing = processes. */
static int parse_kind(struct sonde_cli *cli, const char *word, enum kind *ret)
{
	size_t len;

	*ret = KIND_PROCESSES;
	if (!word)
		return 0;
	len = strlen(word);
	for (int k = 0; k < _KIND_MAX; k++) {
		size_t stem = strlen(kind_names[k]) - (k == KIND_PROCESSES ? 2 : 1);

		if ((len == stem || len == strlen(kind_names[k])) &&
		    strncmp(word, kind_names[k], len) == 0) {
			*ret = (enum kind)k;
			return 0;
		}
	}
	return sonde_cli_fail(cli, SONDE_CLI_USAGE,
			      "'%.64s': expected hosts, processes, services or pods", word);
}

static int no_pods(struct sonde_cli *cli)
{
	return sonde_cli_fail(cli, SONDE_CLI_UNSUPPORTED,
			      "pods need Kubernetes, which agents and server do not ask yet: name "
			      "processes or services");
}

static json_t *group_of(json_t *groups, const char *name)
{
	for (size_t i = 0; i < json_array_size(groups); i++) {
		json_t *group = json_array_get(groups, i);

		if (strcmp(json_string_value(json_object_get(group, "name")), name) == 0)
			return group;
	}
	return NULL;
}

static int count_up(json_t *group, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(group, key));

	return json_object_set_new(group, key, json_integer(n + 1));
}

/* Adds @value to the names under @key, once each. */
static int add_name(json_t *group, const char *key, const char *value)
{
	json_t *names = json_object_get(group, key);

	for (size_t i = 0; i < json_array_size(names); i++) {
		if (strcmp(json_string_value(json_array_get(names, i)), value) == 0)
			return 0;
	}
	return json_array_append_new(names, json_string(value));
}

static int add_to_groups(json_t *groups, const json_t *row, bool hosts)
{
	const char *name = sonde_text_of(row, hosts ? "host" : "service");
	json_t *group = group_of(groups, name);

	if (!group) {
		group = json_pack("{s:s, s:s, s:i, s:i, s:[]}", "kind", hosts ? "host" : "service",
				  "name", name, "processes", 0, "live", 0,
				  hosts ? "services" : "hosts");
		if (!group || json_array_append_new(groups, group) < 0)
			return -ENOMEM;
	}
	if (count_up(group, "processes") < 0 ||
	    (json_is_true(json_object_get(row, "live")) && count_up(group, "live") < 0) ||
	    add_name(group, hosts ? "services" : "hosts",
		     sonde_text_of(row, hosts ? "service" : "host")) < 0)
		return -ENOMEM;
	return 0;
}

static void cell_names(struct sonde_table *t, const json_t *names)
{
	_cleanup_buf_ struct sonde_buf text = SONDE_BUF_INIT(SONDE_TABLE_CELL_MAX);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(names); i++)
		r = sonde_buf_printf(&text, "%s%s", i > 0 ? ", " : "",
				     json_string_value(json_array_get(names, i)));
	/* more than fit are counted */
	if (r < 0)
		sonde_table_addf(t, "%zu", json_array_size(names));
	else
		sonde_table_add(t, text.len > 0 ? sonde_buf_str(&text) : NULL);
}

static void group_cells(const struct sonde_cli *cli, struct sonde_table *t, const json_t *group)
{
	const json_t *services = json_object_get(group, "services");

	sonde_cell_text(t, group, "name");
	sonde_cell_count(t, group, "processes");
	sonde_cell_count(t, group, "live");
	cell_names(t, services ? services : json_object_get(group, "hosts"));
}

static int print_groups(struct sonde_cli *cli, const json_t *groups, bool hosts)
{
	static const struct sonde_column host_columns[] = {{"HOST", false, true},
							   {"PROCESSES", true, false},
							   {"LIVE", true, false},
							   {"SERVICES", false, true},
							   {NULL}};
	static const struct sonde_column service_columns[] = {{"SERVICE", false, true},
							      {"PROCESSES", true, false},
							      {"LIVE", true, false},
							      {"HOSTS", false, true},
							      {NULL}};

	if (json_array_size(groups) == 0)
		note_none(cli);
	return sonde_view_rows(cli, hosts ? host_columns : service_columns, groups, group_cells);
}

static int list_groups(struct sonde_cli *cli, const json_t *targets, bool hosts)
{
	json_auto_t *groups = json_array();
	json_auto_t *all = NULL;

	for (size_t i = 0; i < json_array_size(targets); i++) {
		if (!groups || add_to_groups(groups, json_array_get(targets, i), hosts) < 0)
			return sonde_cli_broken(cli, -ENOMEM);
	}
	if (sonde_cli_output(cli) != SONDE_CLI_JSON)
		return print_groups(cli, groups, hosts);
	all = json_pack("{s:O}", "targets", groups);
	return all ? sonde_cli_print_value(cli, all) : sonde_cli_broken(cli, -ENOMEM);
}

/* --search, --node; true: some are left out. */
static bool filter(const struct sonde_cli *cli, json_t *targets)
{
	const char *search = sonde_cli_flag(cli, "search"), *node = sonde_cli_flag(cli, "node");

	for (size_t i = json_array_size(targets); i-- > 0;) {
		const json_t *row = json_array_get(targets, i);

		if (!matches(row, search) ||
		    (node && strcmp(sonde_text_of(row, "host"), node) != 0))
			(void)json_array_remove(targets, i);
	}
	return search || node;
}

int sonde_cli_targets_list(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	json_t *targets;
	bool filtered;
	enum kind kind;
	int status;

	status = parse_kind(cli, cli->n_operands ? cli->operands[0] : NULL, &kind);
	if (status == 0 && kind == KIND_PODS)
		status = no_pods(cli);
	if (status == 0)
		status = sonde_cli_request(cli, "/api/v1/targets", NULL, &answer);
	if (status != 0)
		return status;
	targets = json_object_get(answer.json, "targets");
	filtered = filter(cli, targets);
	if (kind != KIND_PROCESSES)
		return list_groups(cli, targets, kind == KIND_HOSTS);
	/* the server's answer; filtered, the rows that are left, in the same shape */
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return filtered ? sonde_cli_print_value(cli, answer.json)
				: sonde_cli_print_json(cli, &answer);
	return print_targets(cli, targets);
}

/* --- get --- */

static bool is_meant(const json_t *row, const struct sonde_target *t)
{
	switch (t->kind) {
	case SONDE_TARGET_PID:
		return json_integer_value(json_object_get(row, "pid")) == t->pid;
	case SONDE_TARGET_PROCESS:
		return strcmp(sonde_text_of(row, "process"), t->name) == 0;
	case SONDE_TARGET_SERVICE:
		return strcmp(sonde_text_of(row, "service"), t->name) == 0;
	case SONDE_TARGET_ID:
		return strcmp(sonde_text_of(row, "process_id"), t->name) == 0;
	default: /* a bare word: either name, or an id */
		return strcmp(sonde_text_of(row, "process"), t->name) == 0 ||
		       strcmp(sonde_text_of(row, "service"), t->name) == 0 ||
		       strcmp(sonde_text_of(row, "process_id"), t->name) == 0;
	}
}

static void print_target(struct sonde_cli *cli, const json_t *row)
{
	static const struct {
		const char *label, *key;
	} lines[] = {{"process", "process"},   {"id", "process_id"},	   {"service", "service"},
		     {"instance", "instance"}, {"layer", "layer"},	   {"host", "host"},
		     {"agent", "agent_id"},    {"command", "command_line"}};

	for (size_t i = 0; i < ELEMENTS_OF(lines); i++)
		sonde_view_line_of(cli, row, lines[i].label, lines[i].key);
	(void)fprintf(cli->out, "%-10s %" JSON_INTEGER_FORMAT "\n", "pid",
		      json_integer_value(json_object_get(row, "pid")));
	sonde_view_line(cli, "live", json_is_true(json_object_get(row, "live")) ? "yes" : "no");
	sonde_view_line_time(cli, row, "last seen", "last_seen");
}

int sonde_cli_targets_get(struct sonde_cli *cli)
{
	_cleanup_answer_ struct sonde_rest_answer answer = SONDE_REST_ANSWER_INIT;
	const char *text = cli->operands[0], *words;
	struct sonde_target target;
	json_t *targets;
	int status;

	if (sonde_target_parse(text, &target, &words) < 0)
		return sonde_cli_fail(cli, SONDE_CLI_USAGE, "target '%.64s': %s", text, words);
	status = sonde_cli_request(cli, "/api/v1/targets", NULL, &answer);
	if (status != 0)
		return status;
	targets = json_object_get(answer.json, "targets");
	for (size_t i = json_array_size(targets); i-- > 0;) {
		if (!is_meant(json_array_get(targets, i), &target))
			(void)json_array_remove(targets, i);
	}
	if (json_array_size(targets) == 0)
		return sonde_cli_fail(cli, SONDE_CLI_NOT_FOUND,
				      "no agent reports '%s'; see sonde targets list", text);
	if (sonde_cli_output(cli) == SONDE_CLI_JSON)
		return sonde_cli_print_value(cli, answer.json);
	for (size_t i = 0; i < json_array_size(targets); i++) {
		(void)fputs(i > 0 ? "\n" : "", cli->out);
		print_target(cli, json_array_get(targets, i));
	}
	return SONDE_CLI_OK;
}
